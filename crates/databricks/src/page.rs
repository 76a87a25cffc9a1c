//! Owns [`Pages`]: reads a list page by page, as the workspace pages. A page may be empty and still have a successor: only a
//! missing or empty token ends the list. Bounded, against lists that never end.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{DatabricksError, Workspace};

/// Most pages of one list.
const MAX_PAGES: u32 = 100_000;
/// Most empty pages in a row.
const MAX_EMPTY: u32 = 1_000;

/// One page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The objects that could be read, as the workspace sent them: it promises no order.
    pub items: Vec<T>,
    /// Objects that do not have the documented form.
    pub unreadable: Vec<Unreadable>,
}

/// An object of a list that does not have the documented form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its full name, else its name; None if neither could be read.
    pub name: Option<String>,
    /// Why it could not be read.
    pub what: String,
}

/// A list that is being read.
#[derive(Debug)]
pub struct Pages<T> {
    workspace: Workspace,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    /// Key of the answer that holds the objects, such as `tables`.
    key: &'static str,
    state: State,
    pages: u32,
    empty: u32,
    items: std::marker::PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum State {
    Start,
    Next(String),
    Done,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(crate) fn new(
        workspace: &Workspace,
        path: Vec<String>,
        query: Vec<(&'static str, String)>,
        key: &'static str,
    ) -> Self {
        let workspace = workspace.clone();
        Self { workspace, path, query, key, state: State::Start, pages: 0, empty: 0, items: std::marker::PhantomData }
    }

    /// The next page, which may be empty; `None` after the last. After an error the same page can be requested again.
    ///
    /// # Errors
    /// The call failed, the answer has no such list, or the list passes its bounds ([`DatabricksError::Endless`]).
    pub async fn next(&mut self) -> Result<Option<Page<T>>, DatabricksError> {
        // max_results=0 asks for pages of the workspace's own size; without it the old unpaged mode answers.
        let mut query = vec![("max_results", "0".to_owned())];
        query.extend(self.query.iter().cloned());
        match &self.state {
            State::Start => {}
            State::Next(token) => query.push(("page_token", token.clone())),
            State::Done => return Ok(None),
        }
        let mut answer: Value = self.workspace.get(&self.path, &query).await?;
        let call = || format!("GET {}", self.path.join("/"));
        let objects = match answer.get_mut(self.key).map(Value::take) {
            Some(Value::Array(objects)) => objects,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => {
                return Err(DatabricksError::Answer { call: call(), what: format!("{:?} is no list", self.key) });
            }
        };
        let token = answer.get("next_page_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let next = match (token, &self.state) {
            (None, _) => State::Done,
            (Some(token), State::Next(before)) if token == before => {
                return Err(DatabricksError::Endless {
                    call: call(),
                    what: "a page names itself as its successor".to_owned(),
                });
            }
            (Some(token), _) => State::Next(token.to_owned()),
        };
        let empty = if objects.is_empty() { self.empty + 1 } else { 0 };
        if self.pages >= MAX_PAGES || empty > MAX_EMPTY {
            let what = format!("more than {MAX_PAGES} pages, or {MAX_EMPTY} empty ones in a row");
            return Err(DatabricksError::Endless { call: call(), what });
        }
        (self.state, self.empty, self.pages) = (next, empty, self.pages + 1);
        Ok(Some(read(objects)))
    }

    /// The whole list. [`DatabricksError::Endless`] if it has more than `limit` objects, unreadable ones included.
    pub async fn all(mut self, limit: usize) -> Result<Page<T>, DatabricksError> {
        let mut whole = Page { items: Vec::new(), unreadable: Vec::new() };
        while let Some(page) = self.next().await? {
            whole.items.extend(page.items);
            whole.unreadable.extend(page.unreadable);
            if whole.items.len() + whole.unreadable.len() > limit {
                let call = format!("GET {}", self.path.join("/"));
                return Err(DatabricksError::Endless { call, what: format!("more than {limit} objects") });
            }
        }
        Ok(whole)
    }
}

fn read<T: DeserializeOwned>(objects: Vec<Value>) -> Page<T> {
    let mut page = Page { items: Vec::with_capacity(objects.len()), unreadable: Vec::new() };
    for object in objects {
        let name = ["full_name", "name"].iter().find_map(|key| object.get(key)?.as_str().map(str::to_owned));
        match serde_json::from_value(object) {
            Ok(item) => page.items.push(item),
            Err(error) => page.unreadable.push(Unreadable { name, what: error.to_string() }),
        }
    }
    page
}
