//! What a record costs a Rust agent: the measurement both drivers share.
//!
//! A driver implements [`Subject`] for its agent and calls [`run`], which sends
//! the same events through it and prints the [`Figures`] as one line of JSON.

mod clock;
mod sink;

use std::error::Error;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::{process_cpu, thread_cpu};
use crate::sink::Sink;

/// How long all records may take to arrive before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent under measurement, its buffer large enough for every record of the run.
pub trait Subject {
    /// What the agent takes for an event.
    type Event;

    /// Builds the event number `index`, stamped with the current time.
    fn event(index: usize) -> Self::Event;

    /// Hands every event to the agent from the calling thread.
    fn send_all(&self, events: impl Iterator<Item = Self::Event>);

    /// Returns when the agent has tried to deliver what it holds.
    fn flush(&self);
}

/// Costs of one record, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// CPU time of the calling thread to build an event and send it.
    pub build_and_send_us: f64,
    /// CPU time of the calling thread to send an event built before.
    pub send_us: f64,
    /// Time from the first send until the sink has every record.
    pub delivered_wall_us: f64,
    /// CPU time of the whole process over the same span.
    pub delivered_cpu_us: f64,
}

/// Measures the agent that `connect(sink address, capacity, holds)` makes and prints the figures.
/// An agent that `holds` sends nothing before it is flushed.
///
/// The program's arguments are the sink's address, as in `http://127.0.0.1:8080`,
/// the number of records, and `hold` or `default`. The sink must have been reset.
///
/// # Errors
///
/// When an argument is missing, the sink does not answer, or the records do not
/// all arrive within a minute.
pub fn run<S: Subject>(
    connect: impl FnOnce(&str, usize, bool) -> Result<S, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(records), Some(mode)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: record-peer|record-ours SINK-ADDRESS RECORDS hold|default".into());
    };
    let records: usize = records.parse()?;
    // Room for twice the records: no agent may drop any.
    let subject = connect(&address, records * 2, mode == "hold")?;
    let figures = measure(&subject, &Sink::at(&address), records)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn measure<S: Subject>(
    subject: &S,
    sink: &Sink,
    records: usize,
) -> Result<Figures, Box<dyn Error>> {
    let events: Vec<_> = (0..records).map(S::event).collect();
    let (wall, cpu, thread) = (Instant::now(), process_cpu(), thread_cpu());
    subject.send_all(events.into_iter());
    let send = thread_cpu() - thread;
    deliver(subject, sink, records)?;
    let (delivered_wall, delivered_cpu) = (wall.elapsed(), process_cpu() - cpu);

    let thread = thread_cpu();
    subject.send_all((records..records * 2).map(S::event));
    let build_and_send = thread_cpu() - thread;
    deliver(subject, sink, records * 2)?;

    let each = |total: Duration| total.as_secs_f64() * 1e6 / records as f64;
    Ok(Figures {
        build_and_send_us: each(build_and_send),
        send_us: each(send),
        delivered_wall_us: each(delivered_wall),
        delivered_cpu_us: each(delivered_cpu),
    })
}

/// Flushes until the sink has `expected` events.
fn deliver<S: Subject>(subject: &S, sink: &Sink, expected: usize) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    loop {
        subject.flush();
        let arrived = sink.events()?;
        if arrived == expected {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(
                format!("{arrived} of {expected} events arrived within {PATIENCE:?}").into(),
            );
        }
    }
}
