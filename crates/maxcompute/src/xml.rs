//! The service's XML: parses answers into small trees, and escapes what requests contain. Answers come from the server and are
//! not trusted: callers bound their size, this module their depth.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

/// Maximum nesting that is read.
const MAX_DEPTH: usize = 32;

/// An element of an answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// All character data directly inside the element, CDATA included, unescaped.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Parses a document.
    pub fn parse(xml: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(xml);
        let mut open: Vec<Self> = Vec::new();
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            let closed = match event {
                Event::Start(start) if open.len() < MAX_DEPTH => {
                    open.push(Self::begin(&start)?);
                    None
                }
                Event::Start(_) => return Err(format!("nested deeper than {MAX_DEPTH}")),
                Event::Empty(start) => Some(Self::begin(&start)?),
                Event::End(_) => open.pop(),
                Event::Text(text) => {
                    if let Some(top) = open.last_mut() {
                        top.text.push_str(&text.xml10_content().map_err(|error| error.to_string())?);
                    }
                    None
                }
                Event::CData(data) => {
                    if let Some(top) = open.last_mut() {
                        top.text.push_str(&data.decode().map_err(|error| error.to_string())?);
                    }
                    None
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(|error| error.to_string())?;
                    let resolved = match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                        Some(c) => c.to_string(),
                        None => quick_xml::escape::resolve_predefined_entity(&name)
                            .ok_or_else(|| format!("unknown entity &{name};"))?
                            .to_owned(),
                    };
                    if let Some(top) = open.last_mut() {
                        top.text.push_str(&resolved);
                    }
                    None
                }
                Event::Eof => return Err("no complete element".to_owned()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => None,
            };
            if let Some(element) = closed {
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Ok(element),
                }
            }
        }
    }

    fn begin(start: &BytesStart<'_>) -> Result<Self, String> {
        let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            let key = String::from_utf8_lossy(attribute.key.local_name().as_ref()).into_owned();
            attributes.push((key, value.into_owned()));
        }
        Ok(Self { name, attributes, ..Self::default() })
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub fn children<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The trimmed text of the first child of this name; `None` if it is missing or empty.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim()).filter(|text| !text.is_empty())
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Escapes a text as element content.
pub(crate) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// Writes a text as CDATA; an end mark inside is split over two sections.
pub(crate) fn cdata(text: &str) -> String {
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_become_trees() {
        let xml = r#"<?xml version="1.0"?><Partitions><Marker/><Partition><Column Name="pt" Value="a&amp;b"/>
            <Schema format="Json"><![CDATA[{"x":1}]]></Schema></Partition><Note>1 &lt; 2 &#65;</Note></Partitions>"#;
        let root = Element::parse(xml).unwrap();
        assert_eq!(root.name, "Partitions");
        assert_eq!(root.text_of("Marker"), None);
        assert_eq!(root.text_of("Note"), Some("1 < 2 A"));
        let partition = root.child("Partition").unwrap();
        assert_eq!(partition.child("Column").unwrap().attribute("Value"), Some("a&b"));
        assert_eq!(partition.text_of("Schema"), Some(r#"{"x":1}"#));
    }

    #[test]
    fn broken_documents_are_refused() {
        for xml in ["", "plain", "<a>", "<a></b>", "<a>&nope;</a>", &"<a>".repeat(100)] {
            assert!(Element::parse(xml).is_err(), "{xml}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in "[ -~\\n\\t<>&\\]é]{0,40}") {
            let escaped = Element::parse(&format!("<a>{}</a>", escape(&text))).unwrap();
            prop_assert_eq!(&escaped.text, &text);
            let raw = Element::parse(&format!("<a>{}</a>", cdata(&text))).unwrap();
            prop_assert_eq!(&raw.text, &text);
        }
    }
}
