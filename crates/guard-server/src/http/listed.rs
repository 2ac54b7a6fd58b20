//! Lists in answers.

use serde::Serialize;
use utoipa::ToSchema;

/// A list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed<T> {
    /// The items of this page.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; null if there is none.
    #[schema(required = true)]
    pub(crate) next: Option<String>,
}

impl<T> Listed<T> {
    /// A list that fits into one page.
    pub(crate) const fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
