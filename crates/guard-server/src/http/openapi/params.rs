//! The parameters that several operations take. The handlers read them by their names.

#![expect(dead_code, reason = "only their descriptions are used")]

use utoipa::IntoParams;

/// The records that match a filter.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterParam {
    /// Only records that match this filter, such as `status_code:>=400 -country:DE endpoint:/api/*`.
    /// At most 4,096 bytes, 200 terms and 32 levels of nesting.
    #[param(max_length = 4096, example = "status_code:>=400 endpoint:/api/*")]
    filter: Option<String>,
}

/// A range of time.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeParams {
    /// The first moment: RFC 3339, `now`, or relative to now as in `-15m`, `-24h`, `-7d` and `-2w`.
    #[param(example = "-7d", default = "-24h")]
    from: Option<String>,
    /// The first moment after the range, in the same form.
    #[param(example = "now", default = "now")]
    to: Option<String>,
}

/// The buckets of a range.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BucketParams {
    /// `auto`, or the seconds of a bucket: 1 to 2,678,400, and whole days above a day. At most 1,500
    /// buckets.
    #[param(example = "86400", default = "auto")]
    interval: Option<String>,
    /// The IANA zone in which buckets of a day and more begin.
    #[param(example = "Europe/Berlin", default = "UTC")]
    tz: Option<String>,
}

/// A time zone.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TzParam {
    /// The IANA zone in which buckets of a day and more begin.
    #[param(example = "Europe/Berlin", default = "UTC")]
    tz: Option<String>,
}

/// A page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// How many items the page has at most.
    #[param(minimum = 1, maximum = 1000, default = 50, example = 50)]
    limit: Option<u16>,
    /// `next` of the page before, for the same query.
    cursor: Option<String>,
}

/// A page of a list that goes back from an item.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BeforeParams {
    /// How many items the page has at most.
    #[param(minimum = 1, maximum = 1000, default = 50, example = 50)]
    limit: Option<u16>,
    /// `next_before` of the page before.
    before: Option<String>,
}

/// The length of a top list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TopParam {
    /// How many keys are listed.
    #[param(minimum = 1, maximum = 1000, default = 10, example = 10)]
    limit: Option<u16>,
}

/// Who sends what agents send.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct SenderHeaders {
    /// The install that sends it. It stays the same across restarts.
    #[param(rename = "X-Agent-Install-Id", example = "shop-eu-1")]
    install_id: Option<String>,
    /// The process that sends it.
    #[param(rename = "X-Agent-Process-Id", example = "4711")]
    process_id: Option<String>,
}

/// What agents send along with a body.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct BodyHeaders {
    /// `gzip` if the body is compressed.
    #[param(rename = "Content-Encoding")]
    encoding: Option<String>,
    /// `v1=` and the HMAC-SHA256 of the body before compression, in hexadecimal. Needed if the
    /// project requires signatures.
    #[param(rename = "X-Payload-Signature")]
    signature: Option<String>,
}
