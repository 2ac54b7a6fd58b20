//! Finding the records that a backend refuses.
//!
//! A refused group is halved until single records are left. A single record
//! that is refused is a suspect; it is guilty once any other record of the same
//! batch was delivered. If none was, the fault is not in the records, and all
//! are kept. One bad record among 512 is found in 19 requests.

/// Single records that may be refused, none delivered, before it is concluded
/// that the fault is not in the records.
pub(crate) const MAX_SUSPECTS: usize = 8;

/// The search through one batch.
pub(crate) struct Isolation<T> {
    /// Groups still to be sent, the next one last.
    pending: Vec<Vec<T>>,
    suspects: Vec<T>,
    proven: bool,
}

/// How a search ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Findings<T> {
    /// Refused, while others were delivered.
    pub(crate) guilty: Vec<T>,
    /// To be kept: nothing speaks against them.
    pub(crate) kept: Vec<T>,
}

impl<T> Isolation<T> {
    pub(crate) fn new(batch: Vec<T>) -> Self {
        Self {
            pending: vec![batch],
            suspects: Vec::new(),
            proven: false,
        }
    }

    /// The group to send next, if the search goes on.
    pub(crate) fn next(&mut self) -> Option<Vec<T>> {
        if !self.proven && self.suspects.len() >= MAX_SUSPECTS {
            return None;
        }
        self.pending.pop()
    }

    /// A group was delivered.
    pub(crate) fn delivered(&mut self) {
        self.proven = true;
    }

    /// A group was refused.
    pub(crate) fn refused(&mut self, group: Vec<T>) {
        if let Err(lone) = self.halve(group) {
            self.suspects.extend(lone);
        }
    }

    /// Puts the halves of a group in line, or gives a lone record back.
    pub(crate) fn halve(&mut self, mut group: Vec<T>) -> Result<(), Vec<T>> {
        if group.len() < 2 {
            return Err(group);
        }
        let second = group.split_off(group.len() / 2);
        self.pending.push(second);
        self.pending.push(group);
        Ok(())
    }

    /// Ends the search. Suspects go behind the others, so that another search
    /// starts with records that were not tried alone.
    pub(crate) fn finish(self) -> Findings<T> {
        if self.proven {
            let kept = self.pending.into_iter().rev().flatten().collect();
            return Findings {
                guilty: self.suspects,
                kept,
            };
        }
        let mut kept: Vec<T> = self.pending.into_iter().rev().flatten().collect();
        kept.extend(self.suspects);
        Findings {
            guilty: Vec::new(),
            kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches a batch of `len` with a backend that refuses groups holding any
    /// of `bad`; what was delivered, how many requests it took, what was found.
    fn search(len: usize, bad: &[usize]) -> (Vec<usize>, usize, Findings<usize>) {
        let mut isolation = Isolation::new((0..len).collect());
        let (mut delivered, mut requests) = (Vec::new(), 0);
        while let Some(group) = isolation.next() {
            requests += 1;
            if group.iter().any(|record| bad.contains(record)) {
                isolation.refused(group);
            } else {
                isolation.delivered();
                delivered.extend(group);
            }
        }
        (delivered, requests, isolation.finish())
    }

    #[test]
    fn one_bad_record_among_512_is_found_in_at_most_20_requests() {
        for bad in [0, 1, 255, 256, 300, 511] {
            let (delivered, requests, findings) = search(512, &[bad]);
            assert_eq!(delivered.len(), 511);
            assert_eq!(findings.guilty, [bad]);
            assert!(requests <= 20, "{requests}");
        }
    }

    #[test]
    fn a_backend_that_refuses_everything_costs_few_requests_and_no_record() {
        let all: Vec<usize> = (0..512).collect();
        let (delivered, requests, mut findings) = search(512, &all);
        assert_eq!((delivered.len(), findings.guilty.len()), (0, 0));
        findings.kept.sort_unstable();
        assert_eq!(findings.kept, all);
        assert!(requests < 30, "{requests}");
    }

    #[test]
    fn a_lone_refused_record_is_kept() {
        let (_, requests, findings) = search(1, &[0]);
        assert_eq!((requests, findings.kept), (1, vec![0]));
    }

    #[test]
    fn records_tried_alone_in_vain_are_tried_last_the_next_time() {
        let bad: Vec<usize> = (0..MAX_SUSPECTS).collect();
        let (_, _, findings) = search(512, &bad);
        assert_eq!(findings.kept[..2], [8, 9]);
    }

    proptest! {
        #[test]
        fn every_record_is_delivered_guilty_or_kept(
            len in 1_usize..200,
            bad in prop::collection::vec(0_usize..200, 0..20),
        ) {
            let (mut all, _, findings) = search(len, &bad);
            prop_assert!(findings.guilty.iter().all(|record| bad.contains(record)));
            prop_assert!(findings.guilty.is_empty() || !all.is_empty());
            all.extend(findings.guilty);
            all.extend(findings.kept);
            all.sort_unstable();
            prop_assert_eq!(all, (0..len).collect::<Vec<_>>());
        }
    }
}
