//! Answers a list request: what the filter passes, in the requested order, page by page. Without an order the records
//! are read as they are stored, and a page costs what it shows. With an order every page reads the whole list, and
//! holds only the page in memory.

use std::collections::BTreeMap;

use mms_proto::{ApiError, ErrorReason, page};
use tonic::Code;

use crate::filter::{Filter, fill};
use crate::order::{Order, place_of, text_of};

/// Most records of a list that can be ordered.
const ORDERED_MAX: usize = 200_000;
/// Records in one read.
const READ: usize = 500;

/// A list request, parsed.
#[derive(Debug)]
pub struct List<T> {
    filter: Filter<T>,
    order: Order<T>,
    arguments: Vec<String>,
    token: String,
    size: usize,
    bytes_max: usize,
}

/// The fields of a list request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The method, and what it lists: page tokens are valid for that only.
    pub of: [&'a str; 2],
    /// The field `filter`.
    pub filter: &'a str,
    /// The field `order_by`.
    pub order_by: &'a str,
    /// The field `page_size`.
    pub page_size: i32,
    /// The field `page_token`.
    pub page_token: &'a str,
}

impl<T: prost::Message + prost::Name> List<T> {
    /// Parses a request. A page ends after the item with which it reaches `bytes_max` bytes.
    ///
    /// # Errors
    /// INVALID_FIELD for a filter or an order that cannot be parsed or names no field.
    pub fn of(asked: &Asked<'_>, bytes_max: usize) -> Result<Self, ApiError> {
        let arguments = asked.of.into_iter().chain([asked.filter, asked.order_by]);
        Ok(Self {
            filter: Filter::parse(asked.filter)?,
            order: Order::parse(asked.order_by)?,
            arguments: arguments.map(str::to_owned).collect(),
            token: asked.page_token.to_owned(),
            size: page::size(asked.page_size),
            bytes_max,
        })
    }

    /// Whether the filter or the order may need fields that are not shown: then `show` must fill in all of them.
    pub fn judges(&self) -> bool {
        self.order.is_some() || !self.filter.is_empty()
    }

    /// The page, and the token of the next one, which is empty on the last page. `read` returns up to so many records
    /// after a cursor, each with its own cursor, and whether there are more; `show` makes a resource of a record, or
    /// leaves it out. `text` formats a cursor, `cursor` parses it.
    ///
    /// # Errors
    /// INVALID_PAGE_TOKEN; TOO_LARGE for a list with too many records to be ordered; the first error of `read` or
    /// `show`.
    pub fn page<C: Ord + Clone, R, E: From<ApiError>>(
        &self,
        text: impl Fn(&C) -> String,
        cursor: impl Fn(&str) -> Option<C>,
        read: impl FnMut(Option<&C>, usize) -> Result<(Vec<(C, R)>, bool), E>,
        mut show: impl FnMut(&C, R) -> Result<Option<T>, E>,
    ) -> Result<(Vec<T>, String), E> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let after = page::after(&arguments, &self.token)?;
        let show = |at: &C, record: R| Ok::<_, E>(show(at, record)?.filter(|item| self.filter.passes(item)));
        if !self.order.is_some() {
            let after = after.map(|text| cursor(&text).ok_or_else(ApiError::invalid_page_token)).transpose()?;
            let (items, last) = fill(self.size, self.bytes_max, after, read, show)?;
            let token = last.map(|last| page::token(&arguments, &text(&last)));
            return Ok((items, token.unwrap_or_default()));
        }
        let place = |text: &str| {
            let (place, at) = text.split_once('|')?;
            Some((place_of(place)?, cursor(at)?))
        };
        let after = after.map(|text| place(&text).ok_or_else(ApiError::invalid_page_token)).transpose()?;
        let (items, last) = self.ordered(after.as_ref(), read, show)?;
        let token = last.map(|(place, at)| page::token(&arguments, &format!("{}|{}", text_of(&place), text(&at))));
        Ok((items, token.unwrap_or_default()))
    }

    /// The first items after a position in the order, and the position of the last of them if there are more.
    #[allow(clippy::type_complexity)] // two answers
    fn ordered<C: Ord + Clone, R, E: From<ApiError>>(
        &self,
        after: Option<&(Vec<u8>, C)>,
        mut read: impl FnMut(Option<&C>, usize) -> Result<(Vec<(C, R)>, bool), E>,
        mut show: impl FnMut(&C, R) -> Result<Option<T>, E>,
    ) -> Result<(Vec<T>, Option<(Vec<u8>, C)>), E> {
        let mut first: BTreeMap<(Vec<u8>, C), (T, usize)> = BTreeMap::new();
        let (mut bytes, mut looked_at, mut at) = (0, 0, None);
        // The smallest item that the page has no room for: no item after it may be on the page.
        let mut beyond: Option<(Vec<u8>, C)> = None;
        loop {
            let (records, more) = read(at.as_ref(), READ)?;
            looked_at += records.len();
            if looked_at > ORDERED_MAX {
                let text = format!(
                    "the list has more than {ORDERED_MAX} entries, too many to be put in order: leave order_by out"
                );
                return Err(ApiError::new(Code::ResourceExhausted, ErrorReason::TooLarge, text)
                    .with("limit", ORDERED_MAX)
                    .into());
            }
            let last = records.last().map(|(cursor, _)| cursor.clone());
            for (cursor, record) in records {
                let Some(item) = show(&cursor, record)? else { continue };
                let place = (self.order.place(&item), cursor);
                if after.is_some_and(|after| place <= *after) || beyond.as_ref().is_some_and(|beyond| place > *beyond) {
                    continue;
                }
                let size = item.encoded_len();
                bytes += size;
                first.insert(place, (item, size));
                while first.len() > self.size || (bytes > self.bytes_max && first.len() > 1) {
                    let Some((place, (_, size))) = first.pop_last() else { break };
                    bytes -= size;
                    beyond = Some(place);
                }
            }
            at = last.or(at);
            if !more {
                break;
            }
        }
        let last = first.last_key_value().map(|(place, _)| place.clone()).filter(|_| beyond.is_some());
        Ok((first.into_values().map(|(item, _)| item).collect(), last))
    }
}

#[cfg(test)]
mod tests {
    use mms_proto::registry::v1::DataSource;
    use proptest::prelude::*;

    use super::*;

    fn asked<'a>(filter: &'a str, order_by: &'a str, page_size: i32, page_token: &'a str) -> Asked<'a> {
        Asked { of: ["sources", ""], filter, order_by, page_size, page_token }
    }

    /// All pages of a list of names, by the names' indexes.
    fn pages(names: &[String], filter: &str, order_by: &str, page_size: i32, bytes_max: usize) -> Vec<Vec<usize>> {
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let list = List::<DataSource>::of(&asked(filter, order_by, page_size, &token), bytes_max).unwrap();
            let read = |after: Option<&usize>, limit: usize| {
                let begin = after.map_or(0, |after| after + 1);
                let end = (begin + limit).min(names.len());
                Ok::<_, ApiError>(((begin..end).map(|at| (at, at)).collect(), end < names.len()))
            };
            let show = |at: &usize, _| {
                Ok(Some(DataSource { name: at.to_string(), display_name: names[*at].clone(), ..DataSource::default() }))
            };
            let (items, next) = list.page(ToString::to_string, |text| text.parse().ok(), read, show).unwrap();
            pages.push(items.iter().map(|item| item.name.parse().unwrap()).collect());
            if next.is_empty() {
                return pages;
            }
            token = next;
        }
    }

    proptest! {
        /// However the pages are cut, together they are the whole list, each item once, in order.
        #[test]
        fn pages_in_order_are_the_list_in_order(
            names in proptest::collection::vec("[a-d]{0,2}", 0..60), size in 1..9_i32, bytes in 1..60_usize, down: bool,
        ) {
            let order = if down { "display_name desc" } else { "display_name" };
            let found = pages(&names, "display_name != 'a'", order, size, bytes);
            prop_assert!(found.iter().all(|page| page.len() <= usize::try_from(size).unwrap()));
            let mut wanted: Vec<usize> = (0..names.len()).filter(|at| !names[*at].is_empty() && names[*at] != "a").collect();
            wanted.sort_by(|a, b| if down { names[*b].cmp(&names[*a]) } else { names[*a].cmp(&names[*b]) });
            prop_assert_eq!(found.concat(), wanted);
        }
    }

    #[test]
    fn a_token_holds_for_its_own_order_only() {
        let names: Vec<String> = ["b", "a", "c"].map(str::to_owned).into();
        assert_eq!(pages(&names, "", "display_name", 2, usize::MAX), [vec![1, 0], vec![2]]);
        assert_eq!(pages(&names, "", "", 2, usize::MAX), [vec![0, 1], vec![2]]);
        let token = page::token(&["sources", "", "", "display_name"], "zz|1");
        let list = List::<DataSource>::of(&asked("", "display_name", 2, &token), 1).unwrap();
        let none = |_: Option<&usize>, _: usize| Ok::<_, ApiError>((Vec::<(usize, ())>::new(), false));
        let refused = list.page(ToString::to_string, |text| text.parse().ok(), none, |_, ()| Ok(None));
        assert_eq!(refused.unwrap_err().reason, ErrorReason::InvalidPageToken);
        let list = List::<DataSource>::of(&asked("", "state", 2, &token), 1).unwrap();
        assert!(list.page(ToString::to_string, |text| text.parse().ok(), none, |_, ()| Ok(None)).is_err());
    }
}
