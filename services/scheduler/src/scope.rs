//! Which tables a job takes. Pure: names in, decisions out.

use crate::record::Spec;

/// What the scope says of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// It is taken, for this reason.
    Taken(String),
    /// It is in scope, but a list leaves it out, for this reason.
    Left(String),
    /// It is not in scope.
    Outside,
}

/// Decides about one table, in source names. White lists first, then what the black lists name is taken away.
pub fn choose(spec: &Spec, schema: &str, table: &str) -> Chosen {
    let full = format!("{schema}.{table}");
    if spec.tables_scope {
        return if spec.tables.contains(&full) {
            Chosen::Taken("named in the job's tables".to_owned())
        } else {
            Chosen::Outside
        };
    }
    if !spec.schemas.is_empty() && !spec.schemas.iter().any(|name| name == schema) {
        return Chosen::Outside;
    }
    let names = |pattern: &String| {
        if pattern.contains('.') { matches(pattern, &full) } else { matches(pattern, table) }
    };
    if !spec.table_whitelist.is_empty() && !spec.table_whitelist.iter().any(names) {
        return Chosen::Left("not in the job's table_whitelist".to_owned());
    }
    match spec.table_blacklist.iter().find(|pattern| names(pattern)) {
        Some(pattern) => Chosen::Left(format!("`{pattern}` of the job's table_blacklist")),
        None => Chosen::Taken(format!("in schema `{schema}`")),
    }
}

/// Whether a name matches a glob of `*` and `?`. Linear in pattern times name.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last star has taken one more character.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(white: &[&str], black: &[&str]) -> Spec {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Spec { table_whitelist: own(white), table_blacklist: own(black), ..Spec::default() }
    }

    #[test]
    fn white_minus_black() {
        let spec = spec(&["sales.*"], &["*_tmp"]);
        assert!(matches!(choose(&spec, "sales", "orders"), Chosen::Taken(_)));
        assert!(matches!(choose(&spec, "sales", "orders_tmp"), Chosen::Left(_)));
        assert!(matches!(choose(&spec, "hr", "people"), Chosen::Left(_)));
    }

    #[test]
    fn tables_scope_takes_exactly_what_it_names() {
        let spec = Spec { tables_scope: true, tables: vec!["s.t".to_owned()], ..Spec::default() };
        assert!(matches!(choose(&spec, "s", "t"), Chosen::Taken(_)));
        assert_eq!(choose(&spec, "s", "t2"), Chosen::Outside);
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_every_star(name in "[a-z_]{0,12}", cut in 0..12_usize) {
            prop_assert!(matches(&name, &name));
            let cut = cut.min(name.len());
            let (head, tail) = (&name[..cut], &name[cut..]);
            let globs = [format!("{head}*"), format!("*{tail}"), format!("{head}*{tail}")];
            for glob in &globs {
                prop_assert!(matches(glob, &name));
            }
        }
    }
}
