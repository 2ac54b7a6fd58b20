//! Counts the values in JSON text before it is parsed.

/// At least the number of values in JSON text down to `depth`. Depth 1 is the items of the
/// outermost array or object. Text that is not JSON also gets some number.
pub(crate) fn values(text: &[u8], depth: usize) -> usize {
    let (mut count, mut at) = (1, 0_usize);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => pass_string(&mut bytes),
            b'{' | b'[' => {
                count += usize::from(at < depth);
                at += 1;
            }
            b'}' | b']' => at = at.saturating_sub(1),
            b',' if at <= depth => count += 1,
            _ => {}
        }
    }
    count
}

fn pass_string<'a>(bytes: &mut impl Iterator<Item = &'a u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_values_down_to_the_depth_count() {
        let text = json!({ "a": [{ "b": [1, 2, 3] }, { "b": [] }, 3], "c, [": "\",[" });
        let text = text.to_string();
        assert_eq!(values(text.as_bytes(), 1), 3);
        assert_eq!(values(text.as_bytes(), 2), 6);
        assert_eq!(values(text.as_bytes(), usize::MAX), 12);
    }

    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(fields) => fields.values().map(count).sum(),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn a_parsed_tree_never_has_more_values(text in r#"[\[\]{}",:1a\\]{0,60}"#) {
            if let Ok(tree) = serde_json::from_str::<Value>(&text) {
                prop_assert!(values(text.as_bytes(), usize::MAX) >= count(&tree));
            }
        }
    }
}
