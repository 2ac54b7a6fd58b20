//! From text to a filter. Runs in time linear to the text; its recursion is bounded by
//! [`MAX_NESTING`].

use std::iter::Peekable;
use std::str::Chars;

use guard_wire::Kind;
use ipnet::IpNet;
use jiff::Timestamp;
use thiserror::Error;

use super::{
    Bound, Field, FieldType, Filter, MAX_FILTER_BYTES, MAX_NESTING, MAX_TERMS, Node, Order,
    Pattern, Test,
};

/// Why text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem} (at character {position})")]
pub struct FilterError {
    /// Where, counted in characters from 0.
    pub position: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl Filter {
    /// Reads a filter on records of a kind. Blank text is the filter that matches everything.
    ///
    /// # Errors
    ///
    /// [`FilterError`] with the place and what was expected there, also beyond
    /// [`MAX_FILTER_BYTES`], [`MAX_TERMS`] and [`MAX_NESTING`].
    ///
    /// ```
    /// use guard_server::query::filter::Filter;
    /// use guard_wire::Kind;
    ///
    /// let filter = Filter::parse(Kind::Event, "event_type:ip_banned -country:DE").unwrap();
    /// assert_eq!(filter.to_string(), "event_type:\"ip_banned\" -country:\"DE\"");
    /// let error = Filter::parse(Kind::Event, "event_tipe:ip_banned").unwrap_err();
    /// assert_eq!(error.position, 0);
    /// assert!(error.problem.contains("event_type"));
    /// ```
    pub fn parse(kind: Kind, text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_FILTER_BYTES {
            return Err(FilterError {
                position: 0,
                problem: format!("the filter is longer than {MAX_FILTER_BYTES} bytes"),
            });
        }
        let mut parser = Parser {
            kind,
            rest: text.chars().peekable(),
            position: 0,
            depth: 0,
            terms: 0,
        };
        parser.skip_blanks();
        if parser.rest.peek().is_none() {
            return Ok(Self::everything());
        }
        let root = parser.any()?;
        match parser.rest.peek() {
            None => Ok(Self { root }),
            Some(_) => Err(parser.error("this parenthesis closes nothing; remove it")),
        }
    }
}

struct Parser<'a> {
    kind: Kind,
    rest: Peekable<Chars<'a>>,
    position: usize,
    depth: usize,
    terms: usize,
}

/// A word as it is written: literal parts between stars.
#[derive(Default)]
struct Word {
    position: usize,
    parts: Vec<String>,
    /// Whether it stands in quotes or has escapes, so that operators in it are text.
    is_literal: bool,
    is_quoted: bool,
}

impl Word {
    fn text(self) -> String {
        self.parts.concat()
    }
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all()?];
        while self.take_keyword("OR") {
            nodes.push(self.all()?);
        }
        Ok(collapse(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.unary()?];
        loop {
            self.skip_blanks();
            match self.rest.peek().copied() {
                None | Some(')') => break,
                Some(_) if self.is_at_keyword("OR") => break,
                Some(_) => {
                    self.take_keyword("AND");
                    nodes.push(self.unary()?);
                }
            }
        }
        Ok(collapse(nodes, Node::All))
    }

    fn unary(&mut self) -> Result<Node, FilterError> {
        self.skip_blanks();
        match self.rest.peek().copied() {
            None | Some(')') => Err(self.error("expected a term, such as event_type:ip_banned")),
            Some('-') => {
                self.next();
                self.nested(|parser| Ok(Node::Not(Box::new(parser.unary()?))))
            }
            Some('(') => {
                let opened = self.position;
                self.next();
                let node = self.nested(Self::any)?;
                if self.next() == Some(')') {
                    return Ok(node);
                }
                Err(FilterError {
                    position: opened,
                    problem: "this parenthesis is never closed; add )".to_owned(),
                })
            }
            Some(_) if self.take_keyword("NOT") => {
                self.nested(|parser| Ok(Node::Not(Box::new(parser.unary()?))))
            }
            Some(_) if self.is_at_keyword("AND") || self.is_at_keyword("OR") => {
                Err(self.error("expected a term here; put the word in quotes to search for it"))
            }
            Some(_) => self.term(),
        }
    }

    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Node, FilterError>,
    ) -> Result<Node, FilterError> {
        if self.depth == MAX_NESTING {
            let problem = format!("the filter is nested deeper than {MAX_NESTING} levels");
            return Err(self.error(problem));
        }
        self.depth += 1;
        let node = parse(self)?;
        self.skip_blanks();
        self.depth -= 1;
        Ok(node)
    }

    fn term(&mut self) -> Result<Node, FilterError> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            let problem = format!("the filter has more than {MAX_TERMS} terms");
            return Err(self.error(problem));
        }
        let name = self.word(|next| next == ':')?;
        if self.rest.peek() != Some(&':') || name.is_quoted {
            return Ok(Node::Word(Pattern::new(name.parts)));
        }
        self.next();
        let position = name.position;
        let name = name.text();
        let (field, kind) = Field::find(self.kind, &name).map_err(|nearest| FilterError {
            position,
            problem: format!(
                "{name:?} is not a field; did you mean {nearest}? To search for text, put it in quotes"
            ),
        })?;
        let value = self.word(|_| false)?;
        let test = test(&field, kind, value)?;
        Ok(Node::Field(field, test))
    }

    /// Reads up to a blank, a parenthesis, or what `ends` names.
    fn word(&mut self, ends: impl Fn(char) -> bool) -> Result<Word, FilterError> {
        let mut word = Word {
            position: self.position,
            ..Word::default()
        };
        if self.rest.peek() == Some(&'"') {
            word.parts.push(self.quoted()?);
            word.is_literal = true;
            word.is_quoted = true;
            return Ok(word);
        }
        let mut part = String::new();
        while let Some(&next) = self.rest.peek() {
            if is_end(next) || ends(next) {
                break;
            }
            self.next();
            match next {
                '*' => word.parts.push(std::mem::take(&mut part)),
                '\\' => {
                    let Some(escaped) = self.next() else {
                        return Err(self.error("expected a character after \\"));
                    };
                    part.push(escaped);
                    word.is_literal = true;
                }
                other => part.push(other),
            }
        }
        word.parts.push(part);
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, FilterError> {
        let opened = self.position;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => break,
                Some('\\') => match self.next() {
                    Some(escaped @ ('"' | '\\')) => text.push(escaped),
                    _ => return Err(self.error("in quotes only \\\" and \\\\ are escapes")),
                },
                Some(other) => text.push(other),
                None => {
                    return Err(FilterError {
                        position: opened,
                        problem: "this quote is never closed; add \"".to_owned(),
                    });
                }
            }
        }
        match self.rest.peek() {
            Some(&next) if !is_end(next) => {
                Err(self.error("expected a blank or a parenthesis after the quoted text"))
            }
            _ => Ok(text),
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.position += usize::from(next.is_some());
        next
    }

    fn skip_blanks(&mut self) {
        while self.rest.peek().is_some_and(|next| next.is_whitespace()) {
            self.next();
        }
    }

    fn is_at_keyword(&self, keyword: &str) -> bool {
        let mut ahead = self.rest.clone();
        keyword.chars().all(|wanted| ahead.next() == Some(wanted))
            && ahead.next().is_none_or(is_end)
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        self.skip_blanks();
        let is_here = self.is_at_keyword(keyword);
        if is_here {
            for _ in keyword.chars() {
                self.next();
            }
        }
        is_here
    }

    fn error(&self, problem: impl Into<String>) -> FilterError {
        FilterError {
            position: self.position,
            problem: problem.into(),
        }
    }
}

fn is_end(next: char) -> bool {
    next.is_whitespace() || next == '(' || next == ')'
}

fn collapse(mut nodes: Vec<Node>, group: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => group(nodes),
    }
}

/// What `value` asks of a field of this type.
fn test(field: &Field, kind: FieldType, value: Word) -> Result<Test, FilterError> {
    let position = value.position;
    let refuse = |problem: String| FilterError { position, problem };
    if value.parts.len() > 1 {
        let pattern = Pattern::new(value.parts);
        let is_present = pattern.is_star() && pattern.parts().len() == 2;
        return Ok(if is_present {
            Test::Present
        } else {
            Test::Matches(pattern)
        });
    }
    let (is_literal, is_quoted) = (value.is_literal, value.is_quoted);
    let text = value.text();
    if text.is_empty() && !is_quoted {
        return Err(refuse(format!(
            "expected a value after {field}: or * for any"
        )));
    }
    let has_order = matches!(kind, FieldType::Number | FieldType::Time | FieldType::Any);
    if !is_literal {
        if let Some((order, bound)) = comparison(&text) {
            if !has_order {
                return Err(refuse(format!(
                    "{field} is text and has no order; put the value in quotes to search for it"
                )));
            }
            let bound = read_bound(kind, bound).ok_or_else(|| refuse(expected(field, kind)))?;
            return Ok(Test::Compare(order, bound));
        }
        if has_order && let Some((from, to)) = text.split_once("..") {
            match (read_bound(kind, from), read_bound(kind, to)) {
                (Some(from), Some(to)) if from <= to => return Ok(Test::Between(from, to)),
                (Some(_), Some(_)) => {
                    return Err(refuse("the range ends before it begins".to_owned()));
                }
                _ if kind == FieldType::Any => {}
                _ => return Err(refuse(expected(field, kind))),
            }
        }
        if kind == FieldType::Address && text.contains('/') {
            let network: IpNet = text.parse().map_err(|_| {
                refuse(format!(
                    "{text:?} is not a network; give one such as 10.0.0.0/8"
                ))
            })?;
            return Ok(Test::Within(network.trunc()));
        }
    }
    if matches!(kind, FieldType::Number | FieldType::Time) && read_bound(kind, &text).is_none() {
        return Err(refuse(expected(field, kind)));
    }
    Ok(Test::Equals(text))
}

fn comparison(text: &str) -> Option<(Order, &str)> {
    [
        (">=", Order::AtLeast),
        ("<=", Order::AtMost),
        (">", Order::Above),
        ("<", Order::Below),
    ]
    .into_iter()
    .find_map(|(sign, order)| Some((order, text.strip_prefix(sign)?)))
}

/// A bound of a field of this type.
pub(crate) fn read_bound(kind: FieldType, text: &str) -> Option<Bound> {
    if kind == FieldType::Time {
        return text.parse::<Timestamp>().ok().map(Bound::Time);
    }
    let number: f64 = text.parse().ok()?;
    number.is_finite().then_some(Bound::Number(number))
}

fn expected(field: &Field, kind: FieldType) -> String {
    match kind {
        FieldType::Time => {
            format!("expected a time for {field}, such as 2026-01-31T12:00:00Z")
        }
        _ => format!("expected a number for {field}, such as 400, >=400 or 400..499"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> FilterError {
        Filter::parse(Kind::Event, text).unwrap_err()
    }

    #[test]
    fn terms_bind_as_the_language_says() {
        for (text, printed) in [
            ("", ""),
            ("   ", ""),
            ("event_type:ip_banned", r#"event_type:"ip_banned""#),
            (r#"reason:"rate limit""#, r#"reason:"rate limit""#),
            (r#"reason:"a \"b\" \\""#, r#"reason:"a \"b\" \\""#),
            ("endpoint:/api/*", "endpoint:/api/*"),
            (r"endpoint:/a\*", r#"endpoint:"/a*""#),
            ("ip_address:10.1.2.3/8", "ip_address:10.0.0.0/8"),
            ("ip_address:2001:db8::/32", "ip_address:2001:db8::/32"),
            ("ip_address:::1", r#"ip_address:"::1""#),
            ("status_code:>=400", "status_code:>=400"),
            ("response_time:0.1..2", "response_time:0.1..2"),
            (
                "metadata.guard.rule.id:block-1",
                r#"metadata.guard.rule.id:"block-1""#,
            ),
            ("country:* -country:DE", r#"country:* -country:"DE""#),
            ("sqlmap", r#""sqlmap""#),
            ("a b OR c d", r#"("a" "b") OR ("c" "d")"#),
            ("a AND b OR c", r#"("a" "b") OR "c""#),
            ("a (b OR c)", r#""a" ("b" OR "c")"#),
            ("NOT (a b)", r#"-("a" "b")"#),
            ("-a", r#"-"a""#),
            ("--a", r#"--"a""#),
            ("ANDROID", r#""ANDROID""#),
            (
                "timestamp:>2026-01-01T00:00:00Z",
                "timestamp:>2026-01-01T00:00:00Z",
            ),
            (r#"metadata.version:"1..2""#, r#"metadata.version:"1..2""#),
        ] {
            let filter = Filter::parse(Kind::Event, text).unwrap();
            assert_eq!(filter.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        for (text, position, problem) in [
            ("event_tipe:x", 0, "did you mean event_type?"),
            ("a http://x", 2, "put it in quotes"),
            ("status_code:>=four", 12, "a number for status_code"),
            ("status_code:403..400", 12, "ends before it begins"),
            ("reason:>3", 7, "has no order"),
            ("ip_address:10.0.0.0/64", 11, "not a network"),
            ("ä reason:\"x", 9, "never closed"),
            ("(a b", 0, "never closed"),
            ("a b)", 3, "closes nothing"),
            ("()", 1, "expected a term"),
            ("a OR", 4, "expected a term"),
            ("OR a", 0, "in quotes"),
            ("reason:", 7, "expected a value"),
            ("-", 1, "expected a term"),
            ("metadata:x", 0, "metadata.KEY"),
            (r#""a"b"#, 3, "expected a blank"),
        ] {
            let found = error(text);
            assert_eq!(found.position, position, "{text}: {found}");
            assert!(found.problem.contains(problem), "{text}: {found}");
        }
    }

    #[test]
    fn every_limit_is_an_error_that_names_it() {
        assert!(error(&"a".repeat(100_000)).problem.contains("4096 bytes"));
        let terms = "a ".repeat(MAX_TERMS + 1);
        assert!(error(&terms).problem.contains("200 terms"));
        for nested in ["(".repeat(4000), "-".repeat(4000), "NOT ".repeat(1000)] {
            assert!(error(&nested).problem.contains("32 levels"));
        }
        let deepest = format!("{}a{}", "(".repeat(MAX_NESTING), ")".repeat(MAX_NESTING));
        assert!(Filter::parse(Kind::Event, &deepest).is_ok());
    }
}
