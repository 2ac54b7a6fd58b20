//! The part of the page that shows which agents have the rules in force.

use super::{cell_text, section};
use crate::fleet::adoption::{Adopter, Adoption, AdoptionState};

/// How many agents are listed, those that are furthest behind first.
const NAMED: usize = 50;
const HEADINGS: [&str; 6] = [
    "agent",
    "process",
    "rules",
    "has",
    "changes reach it",
    "why",
];

pub(super) fn section_of(adoption: &Adoption) -> String {
    let Some(version) = adoption.version else {
        return section("Rules", &[], "", "None are set.");
    };
    let counts = &adoption.counts;
    let title = format!(
        "Rules version {version}: {} applied, {} fetched, {} waiting, {} refused",
        counts.applied, counts.fetched, counts.waiting, counts.refused
    );
    let heard = adoption.agents.iter();
    let rows: String = heard
        .filter(|agent| agent.state != Some(AdoptionState::Silent))
        .take(NAMED)
        .map(row)
        .collect();
    section(&title, &HEADINGS, &rows, "No agent asks for them.")
}

fn row(agent: &Adopter) -> String {
    let known = &agent.subscriber;
    let version = known.newest().map(|version| version.to_string());
    let why = match agent.state {
        Some(AdoptionState::Refused) => known.refused.clone(),
        _ => agent.expected_by.map(|by| format!("asks by {by:.0}")),
    };
    let cells = [
        known.id.install_id.clone(),
        known.id.process.clone(),
        agent
            .state
            .map(|state| state.to_string())
            .unwrap_or_default(),
        version.unwrap_or_default(),
        agent.pace(),
        why.unwrap_or_default(),
    ];
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td>{}</td>", cell_text(cell)))
        .collect();
    format!("<tr>{cells}</tr>")
}
