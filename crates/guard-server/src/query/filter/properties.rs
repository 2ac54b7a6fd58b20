//! What holds for every filter and every text.

use guard_wire::Kind;
use ipnet::IpNet;
use jiff::Timestamp;
use proptest::prelude::*;

use super::{Bound, Field, Filter, Node, Order, Pattern, Test};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/._-]{1,8}",
        "[ -~]{0,8}",
        "\\PC{0,6}",
        Just("AND".to_owned()),
        Just("10.0.0.0/8".to_owned()),
        Just(">=3".to_owned()),
        Just("1..2".to_owned()),
    ]
}

fn pattern(parts: std::ops::Range<usize>) -> impl Strategy<Value = Pattern> {
    prop::collection::vec(text(), parts).prop_map(Pattern::new)
}

fn number() -> impl Strategy<Value = Bound> + Clone {
    (-1e9..1e9).prop_map(Bound::Number)
}

fn time() -> impl Strategy<Value = Bound> + Clone {
    (0..4_000_000_000_i64).prop_map(|second| Bound::Time(Timestamp::from_second(second).unwrap()))
}

fn ordered(bound: impl Strategy<Value = Bound> + Clone) -> impl Strategy<Value = Test> {
    let order = prop_oneof![
        Just(Order::Below),
        Just(Order::AtMost),
        Just(Order::Above),
        Just(Order::AtLeast)
    ];
    prop_oneof![
        (order, bound.clone()).prop_map(|(order, bound)| Test::Compare(order, bound)),
        (bound.clone(), bound).prop_map(|(a, b)| {
            if a <= b {
                Test::Between(a, b)
            } else {
                Test::Between(b, a)
            }
        }),
    ]
}

fn stars() -> impl Strategy<Value = Test> {
    let is_star = |pattern: &Pattern| pattern.is_star() && pattern.parts().len() == 2;
    pattern(2..4)
        .prop_filter("a lone star asks for presence", move |p| !is_star(p))
        .prop_map(Test::Matches)
}

fn network() -> impl Strategy<Value = Test> {
    let v4 = (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(a, n)| IpNet::new(a.into(), n));
    let v6 = (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(a, n)| IpNet::new(a.into(), n));
    prop_oneof![v4, v6].prop_map(|network| Test::Within(network.unwrap().trunc()))
}

fn leaf() -> impl Strategy<Value = Node> {
    let common = || prop_oneof![Just(Test::Present), stars(), text().prop_map(Test::Equals)];
    let key = text().prop_filter("a key has a name", |key| !key.is_empty());
    prop_oneof![
        pattern(1..4).prop_map(Node::Word),
        common().prop_map(|test| Node::Field(Field::Named("reason"), test)),
        (key, prop_oneof![common(), ordered(number())]).prop_map(|(key, test)| Node::Field(
            Field::Key {
                object: "metadata",
                key
            },
            test
        )),
        prop_oneof![common(), network()]
            .prop_map(|test| Node::Field(Field::Named("ip_address"), test)),
        prop_oneof![Just(Test::Present), stars(), ordered(number())]
            .prop_map(|test| Node::Field(Field::Named("status_code"), test)),
        prop_oneof![Just(Test::Present), ordered(time())]
            .prop_map(|test| Node::Field(Field::Named("timestamp"), test)),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    leaf()
        .prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(Node::All),
                prop::collection::vec(inner.clone(), 2..4).prop_map(Node::Any),
                inner.prop_map(|node| Node::Not(Box::new(node))),
            ]
        })
        .prop_map(|root| Filter { root })
}

proptest! {
    #[test]
    fn a_printed_filter_parses_to_itself(filter in filter()) {
        let printed = filter.to_string();
        prop_assume!(printed.len() <= super::MAX_FILTER_BYTES);
        let parsed = Filter::parse(Kind::Event, &printed);
        prop_assert_eq!(parsed, Ok(filter), "{}", printed);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,80}", terms in "[a-z:*()\" \\\\<>.-]{0,80}") {
        for text in [text, terms] {
            for kind in Kind::ALL {
                if let Ok(filter) = Filter::parse(kind, &text) {
                    prop_assert_eq!(Filter::parse(kind, &filter.to_string()), Ok(filter));
                }
            }
        }
    }
}
