//! Partition specs: parses the forms that the tunnel, the metadata calls and SQL use, and checks the values against the
//! type of their column.

use mms_maxcompute::types::DataType;

use super::error::{ApiError, ApiResult};
use super::schema::TableMeta;

/// The values of a partition, one for each partition column, in order. Empty for a table without partitions.
pub type PartKey = Vec<String>;

/// Longest partition value, in bytes.
const VALUE_BYTES_MAX: usize = 128;

fn refused(message: String) -> ApiError {
    ApiError::new(400, "InvalidPartitionSpec", message)
}

fn integer(value: &str, min: i64, max: i64) -> Option<String> {
    value.parse::<i64>().ok().filter(|n| (min..=max).contains(n)).map(|n| n.to_string())
}

/// The value as it is stored: integers without leading zeros.
fn canonical(column: &str, data_type: &DataType, value: &str) -> ApiResult<String> {
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return Err(refused(format!(
            "partition {column}: a value has 1..{VALUE_BYTES_MAX} bytes, not {}",
            value.len()
        )));
    }
    if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
        let message = "control and double-byte characters are not allowed in";
        return Err(refused(format!("partition {column}: {message} {value:?}")));
    }
    let fits = |n: u32| (value.chars().count() <= n as usize).then(|| value.to_owned());
    let kept = match data_type {
        DataType::TinyInt => integer(value, i8::MIN.into(), i8::MAX.into()),
        DataType::SmallInt => integer(value, i16::MIN.into(), i16::MAX.into()),
        DataType::Int => integer(value, i32::MIN.into(), i32::MAX.into()),
        DataType::BigInt => integer(value, i64::MIN, i64::MAX),
        DataType::Varchar(n) | DataType::Char(n) => fits(*n),
        _ => Some(value.to_owned()),
    };
    kept.ok_or_else(|| refused(format!("partition {column}: {value:?} is not a value of its type")))
}

/// The key for these pairs of name and value, which may be in any order.
pub fn key_of(meta: &TableMeta, pairs: &[(String, String)]) -> ApiResult<PartKey> {
    if pairs.len() != meta.partition_columns.len() {
        let want: Vec<&str> = meta.partition_columns.iter().map(|c| c.name.as_str()).collect();
        return Err(refused(format!("want a value for each of ({}), got {}", want.join(", "), pairs.len())));
    }
    meta.partition_columns
        .iter()
        .map(|column| {
            let (_, value) = pairs
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(&column.name))
                .ok_or_else(|| refused(format!("no value for partition column {}", column.name)))?;
            canonical(&column.name, &column.data_type, value)
        })
        .collect()
}

/// Parses the tunnel's form: `k=v,k=v` or `k=v/k=v`, unquoted. A value that this form cannot express is rejected.
pub fn parse_tunnel(text: &str) -> ApiResult<Vec<(String, String)>> {
    text.split([',', '/'])
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| refused(format!("`{pair}` is not name=value")))?;
            if value.contains(['=', '\'', '"']) {
                return Err(refused(format!("`{value}` holds a character that a tunnel spec cannot express")));
            }
            Ok((name.trim().to_owned(), value.to_owned()))
        })
        .collect()
}

/// Parses the form of the metadata calls: `k='v',k='v'`, quotes optional.
pub fn parse_quoted(text: &str) -> ApiResult<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| refused(format!("`{rest}` is not name='value'")))?;
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let (value, after) = match quote {
            Some(quote) => {
                after[1..].split_once(quote).ok_or_else(|| refused(format!("`{after}` has no closing quote")))?
            }
            None => after.split_at(after.find([',', '/']).unwrap_or(after.len())),
        };
        pairs.push((name.trim().to_owned(), value.to_owned()));
        rest = after.trim_start().trim_start_matches([',', '/']).trim_start();
    }
    Ok(pairs)
}

/// A key as text, for messages and lists of names: `k=v/k=v`.
pub fn key_text(meta: &TableMeta, key: &PartKey) -> String {
    let pairs: Vec<String> =
        meta.partition_columns.iter().zip(key).map(|(column, value)| format!("{}={value}", column.name)).collect();
    pairs.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_the_inexpressible_is_refused() {
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(parse_tunnel("a=1/b=x y"), Ok(vec![pair("a", "1"), pair("b", "x y")]));
        assert_eq!(parse_quoted("a='1,2',b=\"x=y\""), Ok(vec![pair("a", "1,2"), pair("b", "x=y")]));
        assert_eq!(parse_quoted("a=1,b=2"), Ok(vec![pair("a", "1"), pair("b", "2")]));
        for bad in ["a", "a=1=2", "a='1'", "a=\"1\"", "a=x,y"] {
            assert_eq!(parse_tunnel(bad).expect_err(bad).code, "InvalidPartitionSpec");
        }
    }

    #[test]
    fn values_follow_their_type() {
        assert_eq!(canonical("p", &DataType::Int, "007").as_deref(), Ok("7"));
        assert!(canonical("p", &DataType::TinyInt, "128").is_err());
        assert!(canonical("p", &DataType::String, "").is_err());
        assert!(canonical("p", &DataType::String, &"x".repeat(128)).is_ok());
        for bad in [&*"x".repeat(129), "中", "a\tb", "a\u{7f}"] {
            assert!(canonical("p", &DataType::String, bad).is_err(), "{bad:?}");
        }
        assert!(canonical("p", &DataType::Varchar(2), "abc").is_err());
    }
}
