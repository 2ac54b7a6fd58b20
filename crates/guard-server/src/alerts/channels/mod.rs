//! How each kind of [channel](super::channel) delivers a [notification](super::notification).
