//! What the JSON of a record must contain to match. This is far quicker to see than to parse it.

use super::{Field, FieldType, Filter, Node, Test};

/// Text that is in the JSON of every record that matches a filter.
#[derive(Debug)]
pub(crate) struct Needles<'a>(Vec<&'a str>);

impl<'a> Needles<'a> {
    pub(crate) fn of(filter: &'a Filter) -> Self {
        let mut found = Vec::new();
        collect(&filter.root, &mut found);
        Self(found)
    }

    /// Whether the record with this JSON may match.
    pub(crate) fn may_be_in(&self, json: &str) -> bool {
        // With escapes, any text may be written otherwise.
        self.0.iter().all(|needle| json.contains(needle)) || json.contains('\\')
    }
}

fn collect<'a>(node: &'a Node, found: &mut Vec<&'a str>) {
    match node {
        Node::All(nodes) => nodes.iter().for_each(|node| collect(node, found)),
        Node::Field(field, test) => {
            if let Field::Key { key, .. } = field {
                // The dots of a key may lead into objects; its last part is a name, or its end.
                found.extend(key.rsplit('.').next());
            }
            // A number may be written in many ways.
            if let Test::Equals(text) = test
                && is_verbatim(field)
                && text.parse::<f64>().is_err()
            {
                found.push(text);
            }
        }
        Node::Any(_) | Node::Not(_) | Node::Word(_) => {}
    }
}

/// Whether a value equals only the same text.
fn is_verbatim(field: &Field) -> bool {
    match field {
        Field::Named("install_id") => false,
        _ => matches!(field.field_type(), FieldType::Text | FieldType::Any),
    }
}

#[cfg(test)]
mod tests {
    use guard_wire::Kind;

    use super::*;

    const RECORDS: [&str; 8] = [
        r#"{"reason":"rate limit","metadata":{"tenant":"t-1","deep":{"er":{"key":"v"}}}}"#,
        r#"{"reason":"rate\u0020limit","metadata":{"ten\u0061nt":"t-1","deep.er":{"key":"v"}}}"#,
        r#"{"metadata":{"tenant":["t-1",5],"flag":true,"n":1e1}}"#,
        r#"{"metadata":{"tenant":5.0,"deep.er.key":"v","path":"a\/b"}}"#,
        r#"{"metadata":{"tenant":"Größe","path":"a/b"}}"#,
        r#"{"ip_address":"2001:DB8::1","status_code":403.0,"method":"GET"}"#,
        r#"{"metadata":{"other":"t-1"},"user_agent":"tenant"}"#,
        "{}",
    ];

    #[test]
    fn no_record_that_matches_is_passed_over() {
        let mut matches = 0;
        for text in [
            "metadata.tenant:t-1",
            "metadata.tenant:5",
            "metadata.tenant:*",
            "metadata.tenant:Größe",
            "metadata.deep.er.key:v",
            "metadata.flag:true",
            "metadata.n:10",
            "metadata.path:a/b",
            "reason:\"rate limit\"",
            "ip_address:2001:db8::1",
            "status_code:403",
            "-metadata.tenant:t-1",
            "metadata.tenant:t-1 OR method:GET",
            "tenant",
        ] {
            let filter = Filter::parse(Kind::Event, text).unwrap();
            let needles = Needles::of(&filter);
            for record in RECORDS {
                if filter.matches_json(record) {
                    matches += 1;
                    assert!(needles.may_be_in(record), "{text}: {record}");
                }
            }
        }
        assert!(matches > 20, "{matches}");
    }

    #[test]
    fn records_without_the_text_are_passed_over() {
        let filter = Filter::parse(Kind::Event, "metadata.tenant:t-2 method:GET").unwrap();
        let needles = Needles::of(&filter);
        let passed = RECORDS.iter().filter(|record| !needles.may_be_in(record));
        assert_eq!(passed.count(), 6);
    }
}
