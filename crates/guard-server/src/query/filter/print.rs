//! A filter as text that parses to the same filter.

use std::fmt::{self, Display, Formatter};

use super::{Bound, Filter, Node, Order, Pattern, Test};

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.root {
            Node::All(nodes) => joined(f, nodes, " "),
            Node::Any(nodes) => joined(f, nodes, " OR "),
            node => write!(f, "{node}"),
        }
    }
}

/// Groups stand in parentheses wherever they are not the whole filter.
impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(nodes) => grouped(f, nodes, " "),
            Self::Any(nodes) => grouped(f, nodes, " OR "),
            Self::Not(node) => write!(f, "-{node}"),
            Self::Field(field, test) => {
                word(f, &field.to_string())?;
                write!(f, ":{test}")
            }
            Self::Word(pattern) => stars(f, pattern),
        }
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("*"),
            Self::Equals(value) => quoted(f, value),
            Self::Matches(pattern) => stars(f, pattern),
            Self::Within(network) => write!(f, "{network}"),
            Self::Compare(order, bound) => write!(f, "{order}{bound}"),
            Self::Between(from, to) => write!(f, "{from}..{to}"),
        }
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        })
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(time) => write!(f, "{time}"),
        }
    }
}

fn joined(f: &mut Formatter<'_>, nodes: &[Node], between: &str) -> fmt::Result {
    for (number, node) in nodes.iter().enumerate() {
        if number > 0 {
            f.write_str(between)?;
        }
        write!(f, "{node}")?;
    }
    Ok(())
}

fn grouped(f: &mut Formatter<'_>, nodes: &[Node], between: &str) -> fmt::Result {
    f.write_str("(")?;
    joined(f, nodes, between)?;
    f.write_str(")")
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn stars(f: &mut Formatter<'_>, pattern: &Pattern) -> fmt::Result {
    if let [only] = pattern.parts() {
        return quoted(f, only);
    }
    for (number, part) in pattern.parts().iter().enumerate() {
        if number > 0 {
            f.write_str("*")?;
        }
        word(f, part)?;
    }
    Ok(())
}

/// Text without quotes: all that could mean something else is escaped.
fn word(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    for character in text.chars() {
        if !is_plain(character) {
            f.write_str("\\")?;
        }
        write!(f, "{character}")?;
    }
    Ok(())
}

fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || "/._,;@%+=!?#&[]{}'$^|~".contains(character)
}
