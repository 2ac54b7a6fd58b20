//! A project as answers and the audit log show it.

use std::collections::BTreeMap;

use guard_wire::Kind;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::projects::activity::Refusal;
use crate::projects::{Project, Settings};
use crate::store::{StoreError, Stores};

/// A project as answers and the audit log show it: without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectView {
    name: String,
    created_at: Timestamp,
    settings: Settings,
    /// Which secrets are set.
    secrets: SecretsView,
}

/// Which secrets of a project are set.
#[derive(Debug, Serialize, ToSchema)]
struct SecretsView {
    encryption_key: bool,
    signing_secret: bool,
}

/// A project with its figures.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectDetails {
    #[serde(flatten)]
    project: ProjectView,
    #[serde(flatten)]
    figures: ProjectFigures,
}

/// The figures of a project.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectFigures {
    /// What came.
    pub records: RecordFigures,
    /// Requests with a valid key that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// The room that its data takes.
    pub storage: StorageFigures,
}

/// The records of a project.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordFigures {
    /// Its events.
    pub events: KindFigures,
    /// Its metrics.
    pub metrics: KindFigures,
}

/// The records of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct KindFigures {
    /// Stored.
    pub stored: u64,
    /// Sent again, and not stored again.
    pub duplicates: u64,
    /// Left out of their batch.
    pub invalid: u64,
}

/// The room that the data of a project takes.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorageFigures {
    /// Bytes of its data.
    pub bytes: u64,
    /// How many bytes a day are added, before retention removes others.
    pub bytes_per_day: u64,
    /// Days until the disk is full at this growth. Null if retention stops the growth before that.
    #[schema(required = true)]
    pub days_left: Option<u64>,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        Self {
            name: project.name,
            created_at: project.created_at,
            settings: project.settings,
            secrets: SecretsView {
                encryption_key: project.encryption_key.is_some(),
                signing_secret: project.signing_secret.is_some(),
            },
        }
    }
}

/// The figures of a project.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn figures(stores: &Stores, project: &Project) -> Result<ProjectFigures, StoreError> {
    let counts = stores.telemetry.counts(project.id).await?;
    let refused = stores.projects.refusals(project.id).await?;
    let usage = stores.telemetry.usage(project.id).await?;
    let refused = Refusal::ALL.map(|why| {
        let n = refused.get(why.as_str()).copied().unwrap_or(0);
        (why.as_str(), n)
    });
    let of_kind = |kind, stored| KindFigures {
        stored,
        duplicates: counts.duplicates.of(kind),
        invalid: counts.invalid.of(kind),
    };
    Ok(ProjectFigures {
        records: RecordFigures {
            events: of_kind(Kind::Event, counts.events.total),
            metrics: of_kind(Kind::Metric, counts.metrics.total),
        },
        refused: refused.into_iter().collect(),
        storage: StorageFigures {
            bytes: usage.bytes,
            bytes_per_day: usage.bytes_per_day,
            days_left: usage.days_left(&project.settings),
        },
    })
}

/// A project with its figures.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn details(stores: &Stores, project: Project) -> Result<ProjectDetails, StoreError> {
    let figures = figures(stores, &project).await?;
    Ok(ProjectDetails {
        project: project.into(),
        figures,
    })
}
