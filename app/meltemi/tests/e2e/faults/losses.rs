//! Counts what clients lose while something fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::http;

/// Clients at a time: so many requests can be in a process when it is killed.
pub const CLIENTS: usize = 8;
/// Each client asks so often: 100 requests a second in all, where the machine is fast enough.
const PERIOD: Duration = Duration::from_millis(80);
/// A fault of which nothing is promised.
pub const ANY: usize = usize::MAX;

/// A page that is not whole, and why.
fn complaint(url: &str) -> Option<String> {
    match http::try_get(url) {
        Err(error) => Some(error),
        Ok(answer) if answer.status != 200 => Some(format!("{}: {}", answer.status, answer.body)),
        Ok(answer) if !answer.body.contains("<dt>ISBN") => Some("no details".into()),
        Ok(answer) if !answer.body.contains("<blockquote") => Some("no reviews".into()),
        Ok(_) => None,
    }
}

/// What faults cost, for people to read and for the verdict at the end.
pub struct Losses<'a> {
    /// Where it happens.
    pub cluster: &'a Cluster,
    rows: Vec<(String, usize, Vec<String>, usize)>,
}

impl<'a> Losses<'a> {
    /// Nothing has been lost yet.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, rows: Vec::new() }
    }

    /// Asks for the page all the while `fault` runs and for some more pages after it. `in_flight`: how many requests can have
    /// been in the process that was killed.
    pub fn under_load(&mut self, what: &str, in_flight: usize, fault: impl FnOnce()) {
        let url = self.cluster.url("productpage");
        let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        let client = |number: usize| {
            let mut complaints = Vec::new();
            let mut due = Instant::now() + PERIOD * u32::try_from(number).expect("small") / CLIENTS as u32;
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                due = Instant::now().max(due + PERIOD);
                complaints.extend(complaint(&url));
                asked.fetch_add(1, Ordering::Relaxed);
            }
            complaints
        };
        let pages = |count: usize| {
            let until = asked.load(Ordering::Relaxed) + count;
            while asked.load(Ordering::Relaxed) < until {
                std::thread::sleep(PERIOD);
            }
        };
        let complaints: Vec<String> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
            pages(10 * CLIENTS);
            fault();
            pages(15 * CLIENTS);
            done.store(true, Ordering::Relaxed);
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        self.rows.push((what.to_owned(), asked.into_inner(), complaints, in_flight));
    }

    /// Prints the table; nothing may have been lost but what was in flight in a killed process.
    pub fn judge(self) {
        println!("{:<46} {:>8} {:>6} {:>9}", "fault", "requests", "lost", "in flight");
        for (what, asked, lost, in_flight) in &self.rows {
            let limit = if *in_flight == ANY { "any".to_owned() } else { format!("<= {in_flight}") };
            println!("{what:<46} {asked:>8} {:>6} {limit:>9}", lost.len());
        }
        for (what, _, lost, in_flight) in &self.rows {
            assert!(lost.len() <= *in_flight, "{what}: {lost:#?}");
        }
    }
}
