//! Moving records to the quarantine and back.

use guard_wire::Kind;

use crate::error::{AppendError, At, IoError};
use crate::platform::clock::milliseconds;
use crate::quarantine::Quarantine;
use crate::spool::Spool;
use crate::token::Token;

/// Bytes that are requeued with one write.
const REQUEUE_BYTES: usize = 1 << 20;

impl Spool {
    /// Moves a rejected record to the quarantine with the reason, and acknowledges it. It is
    /// durable when this returns. At [`Options::quarantine_bytes`] the oldest files are removed.
    /// Reasons are cut to [`MAX_REASON`](crate::MAX_REASON) characters.
    ///
    /// [`Options::quarantine_bytes`]: crate::Options::quarantine_bytes
    ///
    /// # Errors
    ///
    /// The file system refused an operation. The record is unchanged, unless only the
    /// acknowledgement failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use guard_spool::{Kind, Options, Spool};
    ///
    /// let root = tempfile::tempdir()?;
    /// let mut spool = Spool::open(root.path(), Options::default())?;
    /// let tokens = spool.append(&[(Kind::Event, b"{}".as_slice())])?;
    /// spool.quarantine(tokens[0], Kind::Event, b"{}", "400: unknown field")?;
    /// assert_eq!((spool.usage().records, spool.usage().quarantined), (0, 1));
    ///
    /// spool.requeue_quarantined()?;
    /// assert_eq!(spool.load(1 << 20)?[0].bytes, b"{}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn quarantine(
        &mut self,
        token: Token,
        kind: Kind,
        bytes: &[u8],
        reason: &str,
    ) -> Result<(), IoError> {
        let stamp = self.stamp();
        self.quarantine
            .write(&*self.fs, &stamp, kind.as_str(), bytes, reason)?;
        self.acknowledge(&[token])
    }

    /// Appends all records of the quarantine again, the oldest first, and removes them from it.
    /// [`load`](Self::load) then returns them. Damaged segments stay in the quarantine. Returns
    /// the number of records.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append). Records that were requeued before the error stay
    /// requeued.
    pub fn requeue_quarantined(&mut self) -> Result<u64, AppendError> {
        // Other processes use the same directory.
        self.open_quarantine()?;
        let mut requeued = 0;
        let mut batch = Vec::new();
        let mut size = 0;
        for (name, kind) in self.quarantine.record_files() {
            let path = self.quarantine.path(&name);
            let bytes = self.fs.read(&path, 0, u64::MAX).at("read", &path)?;
            size += bytes.len();
            batch.push((name, kind, bytes));
            if size >= REQUEUE_BYTES {
                requeued += self.requeue(&mut batch)?;
                size = 0;
            }
        }
        Ok(requeued + self.requeue(&mut batch)?)
    }

    /// Reads the directory again.
    pub(crate) fn open_quarantine(&mut self) -> Result<(), IoError> {
        let limit = self.options.quarantine_bytes;
        self.quarantine = Quarantine::open(&*self.fs, &self.root, &self.own, limit)?;
        Ok(())
    }

    fn requeue(&mut self, batch: &mut Vec<(String, Kind, Vec<u8>)>) -> Result<u64, AppendError> {
        let records: Vec<(Kind, &[u8])> = batch
            .iter()
            .map(|(_, kind, bytes)| (*kind, bytes.as_slice()))
            .collect();
        let tokens = self.append(&records)?;
        self.release(&tokens);
        self.sync_records()?;
        for (name, _, _) in batch.drain(..) {
            self.quarantine.remove(&*self.fs, &name)?;
        }
        Ok(tokens.len() as u64)
    }

    /// A new name for the quarantine. Names sort by age.
    pub(crate) fn stamp(&mut self) -> String {
        let now = milliseconds(self.clock.wall());
        format!("{now:013}-{:08x}", self.rng.u32(..))
    }
}
