//! Reads statistics from the text of a log into the form that manifests keep. Never fails: statistics are optional, so that a
//! text that cannot be read counts as none.

use std::borrow::Cow;

use super::text::{Fields, StatisticsText, Told};
use super::{ColumnStatistics, FileStatistics};

impl FileStatistics {
    /// Reads `stats` of an `add` action. A text that cannot be read gives statistics that say nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        StatisticsText::parse(text).map_or_else(Self::default, |text| Self::of(&text))
    }

    fn of(text: &StatisticsText<'_>) -> Self {
        let mut found = Self { rows: text.rows, tight: text.tight.unwrap_or(true), columns: Vec::new() };
        let parts = Parts { nulls: text.nulls.as_ref(), least: text.least.as_ref(), most: text.most.as_ref() };
        collect(&parts, &mut Vec::new(), &mut found.columns);
        found
    }
}

/// One struct in each of the three kinds of statistics.
struct Parts<'a> {
    nulls: Option<&'a Fields<'a>>,
    least: Option<&'a Fields<'a>>,
    most: Option<&'a Fields<'a>>,
}

fn collect(parts: &Parts<'_>, path: &mut Vec<String>, columns: &mut Vec<ColumnStatistics>) {
    let all = [parts.nulls, parts.least, parts.most];
    let mut names: Vec<&Cow<'_, str>> = Vec::new();
    'names: for (number, fields) in all.into_iter().enumerate().filter_map(|(number, fields)| Some((number, fields?))) {
        let earlier = all.get(..number).unwrap_or_default();
        for name in fields.names() {
            // Each name once, where it comes first.
            if !earlier.iter().flatten().any(|fields| fields.get(name).is_some()) {
                names.push(name);
            }
            if names.len() >= FileStatistics::COLUMNS_MAX {
                break 'names;
            }
        }
    }
    for name in names {
        if columns.len() >= FileStatistics::COLUMNS_MAX {
            return;
        }
        let (nulls, least, most) = (of(parts.nulls, name), of(parts.least, name), of(parts.most, name));
        path.push(name.clone().into_owned());
        let inner = Parts {
            nulls: nulls.and_then(Told::fields),
            least: least.and_then(Told::fields),
            most: most.and_then(Told::fields),
        };
        if inner.nulls.is_some() || inner.least.is_some() || inner.most.is_some() {
            collect(&inner, path, columns);
        } else {
            let (nulls, least, most) = (nulls.and_then(Told::count), bound(least), bound(most));
            if nulls.is_some() || least.is_some() || most.is_some() {
                columns.push(ColumnStatistics { path: path.clone(), nulls, least, most });
            }
        }
        path.pop();
    }
}

fn of<'a>(fields: Option<&'a Fields<'a>>, name: &str) -> Option<&'a Told<'a>> {
    fields.and_then(|fields| fields.get(name))
}

fn bound(told: Option<&Told<'_>>) -> Option<String> {
    told?.bound().filter(|text| text.len() <= FileStatistics::BOUND_BYTES_MAX)
}
