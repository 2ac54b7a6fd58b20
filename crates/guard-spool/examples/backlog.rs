//! Measures how long a spool takes to open on a backlog, and how much memory it needs.
//!
//!     cargo run --release -p guard-spool --example backlog -- DIRECTORY [MIB]
//!
//! It writes a backlog of MIB mebibytes (2048 by default) below DIRECTORY, as a process that
//! died would leave it. Then it opens the spool and loads the first mebibyte. With 0 it opens the
//! backlog of an earlier run, which measures memory in a fresh process. The disk needs that much
//! space. The directory is not removed.

use std::error::Error;
use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use guard_spool::{Kind, Options, Spool};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let root = arguments.next().ok_or("usage: backlog DIRECTORY [MIB]")?;
    let mib: u64 = arguments.next().map_or(Ok(2048), |mib| mib.parse())?;
    let options = Options {
        max_bytes: (mib + 64) << 20,
        ..Options::default()
    };
    if mib > 0 {
        leave_backlog(Path::new(&root), &options, mib << 20)?;
    }

    let before = resident()?;
    let start = Instant::now();
    let mut spool = Spool::open(Path::new(&root), options)?;
    spool.tick()?; // adopts what dead processes left
    let opened = start.elapsed();
    let usage = spool.usage();
    println!("opened     {} MiB in {opened:.1?}", usage.bytes >> 20);
    println!("memory     {} KiB more", resident()?.saturating_sub(before));

    let start = Instant::now();
    let loaded = spool.load(1 << 20)?;
    println!(
        "loaded     {} records in {:.1?}",
        loaded.len(),
        start.elapsed()
    );
    println!("memory     {} KiB more", resident()?.saturating_sub(before));
    Ok(())
}

/// Records of 500 bytes, every fourth a metric, of which every tenth is
/// acknowledged.
fn leave_backlog(root: &Path, options: &Options, bytes: u64) -> Result<(), Box<dyn Error>> {
    let body = [b'x'; 500];
    let group: Vec<(Kind, &[u8])> = (0..1_000)
        .map(|n| {
            if n % 4 == 0 {
                Kind::Metric
            } else {
                Kind::Event
            }
        })
        .map(|kind| (kind, body.as_slice()))
        .collect();
    let mut spool = Spool::open(root, options.clone())?;
    let start = Instant::now();
    let mut records = 0;
    while spool.usage().bytes < bytes {
        let tokens = spool.append(&group)?;
        let done: Vec<_> = tokens.iter().copied().step_by(10).collect();
        spool.acknowledge(&done)?;
        spool.tick()?;
        records += tokens.len();
    }
    println!("written    {records} records in {:.1?}", start.elapsed());
    Ok(())
}

/// Resident memory of this process in KiB.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(figure.ok_or("no VmRSS in /proc/self/status")?.parse()?)
}
