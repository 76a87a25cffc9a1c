//! Finds where each column of a table lies in one Parquet file, and decides how its values are converted. Pure: from the
//! schemas of file and table to a plan or a refusal.
//!
//! Columns are found by name or by field id, as the table's column mapping says, never by both. The file's annotations are
//! judged here ([`super::leaf`]) and removed from the schema that the Parquet reader gets. The reader then returns numbers
//! and bytes as they are stored, and every step from there to the table's type is ours (`crate::values`): no library can
//! ignore, guess or round anything.

use std::sync::Arc;

use delta_kernel::schema::{DataType, StructField, StructType};
use parquet::arrow::ProjectionMask;
use parquet::basic::Repetition;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::find::{Finder, Missing};
use super::nested::{self, Element};
use super::{bare, leaf};
use crate::ColumnMapping;
use crate::error::shown_type;
use crate::values::{Carry, Member, Node};

/// How a file is read.
#[derive(Debug)]
pub(crate) struct FilePlan {
    /// The table's stored columns, in its order.
    pub columns: Vec<Member>,
    /// Indexes of the leaves to read.
    pub leaves: Vec<usize>,
    /// The schema to read them with: the file's own, without annotations.
    pub schema: Arc<SchemaDescriptor>,
    /// Whether the file has at least one of the table's columns.
    pub found_any: bool,
}

impl FilePlan {
    pub(crate) fn mask(&self) -> ProjectionMask {
        ProjectionMask::leaves(&self.schema, self.leaves.iter().copied())
    }
}

/// Why a column of the table cannot be read from this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The table's names of the column, and of what leads to the part of it.
    pub path: Vec<String>,
    pub reason: String,
}

/// Plans the reading of the table's stored columns, given as fields of its logical schema.
pub(crate) fn plan<'a>(
    fields: impl Iterator<Item = &'a StructField>,
    mapping: ColumnMapping,
    file: &SchemaDescriptor,
) -> Result<FilePlan, Refusal> {
    let root = file.root_schema();
    let leaves = file.num_columns();
    let mut planner = Planner { finder: Finder { mapping }, wanted: vec![false; leaves], path: Vec::new() };
    let fields: Vec<&StructField> = fields.collect();
    let silent = planner.finder.has_ids(&fields, root.get_fields());
    silent.map_err(|Missing(reason)| Refusal { path: Vec::new(), reason })?;
    let (columns, rewritten) = planner.members(&fields, root.get_fields(), 0)?;
    let found_any = columns.iter().any(|column| column.at.is_some());
    let schema = Type::group_type_builder(root.name()).with_fields(rewritten).build();
    let schema = schema.map_err(|e| Refusal { path: Vec::new(), reason: format!("its schema cannot be read: {e}") })?;
    let leaves = (0..leaves).filter(|leaf| planner.wanted[*leaf]).collect();
    Ok(FilePlan { columns, leaves, schema: Arc::new(SchemaDescriptor::new(Arc::new(schema))), found_any })
}

struct Planner {
    finder: Finder,
    /// For each leaf, whether it is read.
    wanted: Vec<bool>,
    /// The current column and part of it, for refusals.
    path: Vec<String>,
}

impl Planner {
    /// Plans the fields of a struct (or of the table); each gets its index among the children that are read.
    fn members(
        &mut self,
        fields: &[&StructField],
        there: &[TypePtr],
        first_leaf: usize,
    ) -> Result<(Vec<Member>, Vec<TypePtr>), Refusal> {
        let mut found: Vec<Option<usize>> = Vec::with_capacity(fields.len());
        for field in fields {
            self.path.push(field.name().clone());
            let place = self.finder.find(field, there).map_err(|why| self.refuse(why))?;
            if let Some(other) = place.and_then(|place| found.iter().position(|taken| *taken == Some(place))) {
                let (name, other) = (there[place.unwrap_or_default()].name(), fields[other].name());
                return Err(self.refuse(format!("the file's field `{name}` is also that of `{other}`")));
            }
            found.push(place);
            self.path.pop();
        }
        let mut rewritten = Vec::with_capacity(there.len());
        let mut nodes: Vec<Option<Node>> = fields.iter().map(|_| None).collect();
        let mut places = vec![None; fields.len()];
        let (mut leaf, mut read) = (first_leaf, 0);
        for (at, file_field) in there.iter().enumerate() {
            let count = bare::leaves(file_field);
            match found.iter().position(|place| *place == Some(at)) {
                None => rewritten.push(bare::strip(file_field)),
                Some(field) => {
                    self.path.push(fields[field].name().clone());
                    let (node, stripped) = self.field(fields[field].data_type(), file_field, leaf)?;
                    self.path.pop();
                    rewritten.push(stripped);
                    nodes[field] = Some(node);
                    places[field] = Some(read);
                    read += 1;
                }
            }
            leaf += count;
        }
        let members = fields.iter().zip(nodes).zip(places);
        let members = members.map(|((field, node), at)| Member {
            name: field.name().clone(),
            nullable: field.is_nullable(),
            at,
            node: node.unwrap_or(Node::Absent),
        });
        Ok((members.collect(), rewritten))
    }

    /// Plans a value of this type in a stored field. The field may be repeated by itself, which is a list without a group
    /// around it.
    fn field(&mut self, wanted: &DataType, there: &TypePtr, leaf: usize) -> Result<(Node, TypePtr), Refusal> {
        if bare::repetition(there) != Repetition::REPEATED {
            return self.value(wanted, there, leaf);
        }
        let DataType::Array(array) = wanted else {
            return Err(self.refuse(format!("it is repeated in the file, which is no {}", shown_type(wanted))));
        };
        if bare::is_list(there) || bare::is_map(there) {
            return Err(self.refuse("it is a repeated list or map in the file, which is no list of Parquet".to_owned()));
        }
        self.path.push("element".to_owned());
        let (element, stripped) = self.value(array.element_type(), there, leaf)?;
        self.path.pop();
        Ok((Node::List(Box::new(nested::element(array, element))), stripped))
    }

    fn value(&mut self, wanted: &DataType, there: &TypePtr, leaf: usize) -> Result<(Node, TypePtr), Refusal> {
        match wanted {
            DataType::Struct(fields) => self.group(fields, there, leaf),
            DataType::Array(array) => {
                let element = nested::list(array, there, &self.finder).map_err(|why| self.refuse(why))?;
                self.path.push("element".to_owned());
                let (node, repeated) = match element {
                    Element::Repeated(repeated) => {
                        let (node, stripped) = self.value(array.element_type(), repeated, leaf)?;
                        // By this name the reader knows that the repeated field is the element.
                        (node, bare::renamed(&stripped, "array"))
                    }
                    Element::Inner(inner) => {
                        let (node, stripped) = self.field(array.element_type(), inner, leaf)?;
                        (node, bare::group("list", Repetition::REPEATED, bare::Kind::Plain, vec![stripped]))
                    }
                };
                self.path.pop();
                let rewritten = bare::group(there.name(), bare::repetition(there), bare::Kind::List, vec![repeated]);
                Ok((Node::List(Box::new(nested::element(array, node))), rewritten))
            }
            DataType::Map(map) => {
                let (entries, key, value) = nested::map(there).map_err(|why| self.refuse(why))?;
                self.path.push("key".to_owned());
                let (key_node, key_field) = self.value(map.key_type(), key, leaf)?;
                self.path.pop();
                self.path.push("value".to_owned());
                let (value_node, value_field) = self.value(map.value_type(), value, leaf + bare::leaves(key))?;
                self.path.pop();
                let entries =
                    bare::group(entries.name(), Repetition::REPEATED, bare::Kind::Plain, vec![key_field, value_field]);
                let rewritten = bare::group(there.name(), bare::repetition(there), bare::Kind::Map, vec![entries]);
                let (key, value) = nested::entries(map, key_node, value_node);
                Ok((Node::Map(Box::new(key), Box::new(value)), rewritten))
            }
            DataType::Primitive(primitive) => {
                let carry = leaf::carry(primitive, there).map_err(|why| self.refuse(why))?;
                self.wanted[leaf] = true;
                Ok((Node::Leaf(carry), bare::raw_leaf(there, carry == Carry::Int96)))
            }
            other => Err(self.refuse(format!("{} cannot be read from files", shown_type(other)))),
        }
    }

    fn group(&mut self, fields: &StructType, there: &TypePtr, leaf: usize) -> Result<(Node, TypePtr), Refusal> {
        if there.is_primitive() || bare::is_list(there) || bare::is_map(there) {
            return Err(self.refuse(format!("it is stored as {}, which is no STRUCT", bare::shown(there))));
        }
        if bare::leaves(there) == 0 {
            return Err(self.refuse("it is a struct without fields in the file".to_owned()));
        }
        let wanted: Vec<&StructField> = fields.fields().collect();
        self.finder.has_ids(&wanted, there.get_fields()).map_err(|Missing(why)| self.refuse(why))?;
        let (members, rewritten) = self.members(&wanted, there.get_fields(), leaf)?;
        if members.iter().all(|member| member.at.is_none()) {
            // One leaf is read nevertheless: it shows which rows have this struct.
            self.wanted[leaf] = true;
        }
        let rewritten = bare::group(there.name(), bare::repetition(there), bare::Kind::Plain, rewritten);
        Ok((Node::Struct(members), rewritten))
    }

    fn refuse(&self, reason: String) -> Refusal {
        Refusal { path: self.path.clone(), reason }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
