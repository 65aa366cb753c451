//! A small judge of JSON by the schemas of `/openapi.json`: stricter than JSON Schema, since a field that is not described is wrong.

use serde_json::Value;

pub(crate) struct Schemas(Value);

impl Schemas {
    pub(crate) fn load() -> Self {
        Self(serde_json::from_str(&portolan::api::openapi_json()).expect("the document is JSON"))
    }

    /// Panics when the answer is not as the document describes it for this request.
    pub(crate) fn check(&self, method: &str, target: &str, status: u16, body: &Value) {
        let path = target.split('?').next().expect("a path");
        let Some(operation) = self.operation(method, path) else {
            let refusal = self.resolve("#/components/schemas/Refusal");
            return self.judge("$", refusal, body);
        };
        let responses = &operation["responses"];
        let by_status = &responses[status.to_string()];
        let response = if by_status.is_null() { &responses["default"] } else { by_status };
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} does not describe {status}");
        self.judge("$", schema, body);
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let fits = |pattern: &str| {
            let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            pattern.len() == path.len() && pattern.iter().zip(&path).all(|(p, s)| p == s || p.starts_with('{'))
        };
        let paths = self.0["paths"].as_object().expect("paths");
        let exact = paths.get(path);
        let item = exact.or_else(|| paths.iter().find(|(pattern, _)| fits(pattern)).map(|(_, item)| item))?;
        item.get(method.to_lowercase())
    }

    fn resolve(&self, reference: &str) -> &Value {
        let found = self.0.pointer(reference.trim_start_matches('#'));
        found.unwrap_or_else(|| panic!("{reference} is not there"))
    }

    fn judge(&self, at: &str, schema: &Value, value: &Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.judge(at, self.resolve(reference), value);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fitting = choices.iter().find(|s| (s["type"] == "null") == value.is_null());
            return self.judge(at, fitting.unwrap_or_else(|| panic!("{at}: {value} fits no choice")), value);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.judge(at, &self.joined(parts), value);
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let types = match &schema["type"] {
            Value::Array(all) => all.clone(),
            Value::Null => panic!("{at}: nothing is said of {value}"),
            one => vec![one.clone()],
        };
        assert!(types.iter().any(|t| t == kind), "{at}: {kind} is none of {types:?}");
        if let (Some(words), Value::String(word)) = (schema["enum"].as_array(), value) {
            assert!(words.iter().any(|w| w == word), "{at}: {word} is none of {words:?}");
        }
        match value {
            Value::Array(all) => all.iter().for_each(|one| self.judge(&format!("{at}[]"), &schema["items"], one)),
            Value::Object(map) => self.judge_object(at, schema, map),
            _ => {}
        }
    }

    /// One object schema with the fields of all parts.
    fn joined(&self, parts: &[Value]) -> Value {
        let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
        for part in parts {
            let part = part["$ref"].as_str().map_or(part, |reference| self.resolve(reference));
            properties.extend(part["properties"].as_object().expect("an object").clone());
            required.extend(part["required"].as_array().into_iter().flatten().cloned());
        }
        serde_json::json!({"type": "object", "properties": properties, "required": required})
    }

    fn judge_object(&self, at: &str, schema: &Value, map: &serde_json::Map<String, Value>) {
        for (key, value) in map {
            let known = &schema["properties"][key];
            let known = if known.is_null() { &schema["additionalProperties"] } else { known };
            assert!(known.is_object(), "{at}.{key} is not described");
            self.judge(&format!("{at}.{key}"), known, value);
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            let name = required.as_str().expect("a name");
            assert!(map.contains_key(name), "{at}.{name} is required and not there");
        }
    }
}
