//! The running services refuse with NOT_YET what the contract marks as not implemented: every such method, and every
//! such field of every request, in a request that is valid otherwise.

use std::collections::BTreeMap;

use mms_proto::{ApiError, ErrorReason, Role, descriptor, redact, rules};
use mms_tests::suite::Suite;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use rules::Rules;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

/// A codec for messages that are already encoded.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use bytes::Buf;
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// A field that is not implemented, by the path to it; with the number of the enum value, if only that is not.
#[derive(Clone)]
struct Undone {
    way: Vec<FieldDescriptor>,
    value: Option<i32>,
}

fn undone(message: &MessageDescriptor, way: &[FieldDescriptor], found: &mut Vec<Undone>) {
    for (field, rules) in rules::of(message).iter().filter(|(_, rules)| !rules.output_only) {
        let way: Vec<FieldDescriptor> = way.iter().chain([field]).cloned().collect();
        if rules.not_yet {
            found.push(Undone { way, value: None });
            continue;
        }
        match field.kind() {
            Kind::Enum(kind) => {
                for value in kind.values().filter(|value| rules.not_yet_values.iter().any(|name| name == value.name()))
                {
                    found.push(Undone { way: way.clone(), value: Some(value.number()) });
                }
            }
            Kind::Message(entry) if field.is_map() => {
                if let Kind::Message(inner) = entry.map_entry_value_field().kind() {
                    undone(&inner, &way, found);
                }
            }
            Kind::Message(inner) => undone(&inner, &way, found),
            _ => {}
        }
    }
}

/// Fields that services require in addition to the rules of the contract, with the value for a text: a JDBC read path
/// needs its address, and every other read path the access to its storage.
const BESIDES: [(&str, Option<&str>); 3] =
    [("jdbc_url", Some("jdbc:databricks://a.example:443/default")), ("cluster_id", Some("a")), ("storage", None)];

/// The smallest message that keeps the rules; it has the undone field set if the path to it leads through this message.
fn least(message: &MessageDescriptor, undone: Option<&Undone>) -> DynamicMessage {
    let mut made = DynamicMessage::new(message.clone());
    let next = undone.and_then(|undone| undone.way.first());
    for (field, rules) in rules::of(message).iter().filter(|(_, rules)| !rules.output_only) {
        let on_way = next == Some(field);
        let chosen = match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            Some(oneof) if !oneof.fields().any(|member| Some(&member) == next) => {
                let done = |(member, rules): &(FieldDescriptor, Rules)| {
                    member.containing_oneof().as_ref() == Some(&oneof) && !rules.not_yet
                };
                rules::of(message).iter().find(|one| done(one)).is_some_and(|(member, _)| member == field)
            }
            Some(_) => false,
            None => {
                let needed = rules.required || rules.min.is_some_and(|min| min > 0.0) || redact::is_secret(field);
                needed || BESIDES.iter().any(|(name, _)| field.name() == *name)
            }
        };
        if on_way || chosen {
            let rest =
                undone.filter(|_| on_way).map(|undone| Undone { way: undone.way[1..].to_vec(), ..undone.clone() });
            let value = value(field, rules, rest.as_ref());
            made.set_field(field, value);
        }
    }
    made
}

fn value(field: &FieldDescriptor, rules: &Rules, rest: Option<&Undone>) -> Value {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let value = entry.map_entry_value_field();
        let value = single(&value.kind(), &Rules::default(), rest);
        return Value::Map([(MapKey::String("s.t".into()), value)].into());
    }
    if let Some((_, Some(text))) = BESIDES.iter().find(|(name, _)| field.name() == *name) {
        return Value::String((*text).into());
    }
    let one = single(&field.kind(), rules, rest);
    if field.is_list() { Value::List(vec![one]) } else { one }
}

fn single(kind: &Kind, rules: &Rules, rest: Option<&Undone>) -> Value {
    let number = rules.min.unwrap_or_default().max(1.0);
    match kind {
        Kind::String if rules.secret => Value::String("sig=x".into()),
        Kind::String => Value::String(text(rules)),
        Kind::Bytes => Value::Bytes("x".into()),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 => Value::I32(number as i32),
        Kind::Int64 => Value::I64(number as i64),
        Kind::Double => Value::F64(number),
        Kind::Enum(kind) => {
            let done = kind.values().find(|value| value.number() > 0);
            let asked = rest.and_then(|undone| undone.value);
            Value::EnumNumber(asked.or(done.map(|value| value.number())).unwrap_or_default())
        }
        Kind::Message(mask) if mask.full_name() == "google.protobuf.FieldMask" => {
            let mut mask = DynamicMessage::new(mask.clone());
            mask.set_field_by_name("paths", Value::List(vec![Value::String("*".into())]));
            Value::Message(mask)
        }
        Kind::Message(inner) => Value::Message(least(inner, rest)),
        other => panic!("the test knows no value of the kind {other:?}"),
    }
}

fn text(rules: &Rules) -> String {
    if let Some(shape) = &rules.resource {
        return shape.replace(['*', '-'], "a");
    }
    let known = ["a-table", "a", "https://a.example/api", "/a"];
    let fits = |text: &&str| {
        rules.pattern.as_ref().is_none_or(|(_, regex)| regex.is_match(text)) && rules.min_len <= text.len() as u64
    };
    // With a pattern, the first known text that matches it; without one, a text that is valid as any name.
    let known: &[&str] = if rules.pattern.is_none() { &["abc"] } else { &known };
    (*known.iter().find(|text| fits(text)).expect("the test knows a text for every pattern")).to_owned()
}

struct Caller {
    suite: Suite,
    token: String,
    channels: BTreeMap<String, tonic::client::Grpc<tonic::transport::Channel>>,
}

impl Caller {
    async fn call(&mut self, path: &str, request: Vec<u8>) -> anyhow::Result<Result<(), Status>> {
        // Every process serves AuditService; any of them will do.
        let service = path.split('.').nth(1).filter(|service| *service != "audit").unwrap_or("registry").to_owned();
        if !self.channels.contains_key(&service) {
            let channel = tonic::transport::Endpoint::try_from(self.suite.endpoint(&service))?.connect().await?;
            self.channels.insert(service.clone(), tonic::client::Grpc::new(channel));
        }
        let grpc = self.channels.get_mut(&service).expect("it was just put there");
        let mut request = Request::new(request);
        if descriptor::method_role(path) == Some(Role::Service) {
            request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        }
        grpc.ready().await?;
        let answered = grpc.server_streaming(request, path.parse()?, Raw).await;
        Ok(match answered {
            Err(status) => Err(status),
            Ok(mut stream) => stream.get_mut().message().await.map(drop),
        })
    }
}

fn refusal(answered: Result<(), Status>) -> Result<String, String> {
    let status = answered.err().ok_or("was answered OK")?;
    let error = ApiError::from_status(&status);
    match error.reason {
        ErrorReason::NotYet => Ok(error.metadata.get("feature").cloned().unwrap_or_default()),
        _ => Err(format!("was refused otherwise: {status:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_done_is_refused_as_not_yet() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let suite = Suite::processes(folder.path(), 30).await?;
    let token = std::fs::read_to_string(suite.token_file())?.trim().to_owned();
    let mut caller = Caller { suite, token, channels: BTreeMap::new() };

    // Requests for updates need an existing resource.
    let create = descriptor::pool().get_message_by_name("mms.registry.v1.CreateDataSourceRequest").expect("known");
    let mut source = least(&create, None);
    source.set_field_by_name("data_source_id", Value::String("a".into()));
    let made = caller.call("/mms.registry.v1.DataSourceService/CreateDataSource", source.encode_to_vec()).await?;
    anyhow::ensure!(made.is_ok(), "{made:?}");

    let (mut faults, mut fields, mut methods) = (Vec::new(), 0, 0);
    let services = descriptor::pool().services();
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        if descriptor::method(&path).is_some_and(|method| method.not_yet) {
            methods += 1;
            if let Err(fault) = refusal(caller.call(&path, Vec::new()).await?) {
                faults.push(format!("{path} {fault}"));
            }
            continue;
        }
        let mut found = Vec::new();
        undone(&method.input(), &[], &mut found);
        for one in found {
            fields += 1;
            let name: Vec<&str> = one.way.iter().map(|field| field.name()).collect();
            let request = least(&method.input(), Some(&one));
            match refusal(caller.call(&path, request.encode_to_vec()).await?) {
                Ok(feature) if name.last().is_some_and(|name| feature.contains(name)) => {}
                Ok(feature) => faults.push(format!("{path} {}: {feature:?} was refused instead", name.join("."))),
                Err(fault) => faults.push(format!("{path} {} {fault}", name.join("."))),
            }
        }
    }
    anyhow::ensure!(
        faults.is_empty(),
        "{} of {fields} fields and {methods} methods:\n{}",
        faults.len(),
        faults.join("\n")
    );
    anyhow::ensure!(fields > 50 && methods > 0, "{fields} fields and {methods} methods were looked at");
    Ok(())
}
