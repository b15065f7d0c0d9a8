//! Logs in Istio's shape, with a level for each scope that can be changed while the process runs.
//!
//! A scope is a part of the program: the crate `meltemi-xds` logs in scope `xds`; an explicit `target:` is a
//! scope of its own.

mod format;
mod level;

use std::io;
use std::sync::OnceLock;

pub use level::{LevelError, Levels};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Where logs go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Standard output, as Istio's processes do.
    #[default]
    Stdout,
    /// Standard error, for commands whose output is data.
    Stderr,
}

/// How to log.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Istio's `--log_output_level`: `default:info,xds:debug`. Empty means `default:info`.
    pub output_level: String,
    /// JSON lines instead of tab-separated text.
    pub json: bool,
    /// Where to.
    pub target: Target,
}

/// Changes levels while the process runs.
pub struct Handle {
    reload: reload::Handle<Targets, Registry>,
    levels: parking_lot::Mutex<Levels>,
}

static HANDLE: OnceLock<Handle> = OnceLock::new();

/// Starts logging; called once, from `main`.
///
/// # Errors
/// When `output_level` does not parse, or logging was started before.
pub fn init(options: &LogOptions) -> Result<&'static Handle, LevelError> {
    let levels: Levels = options.output_level.parse()?;
    let (filter, reload) = reload::Layer::new(levels.targets());
    let writer = match options.target {
        Target::Stdout => BoxMakeWriter::new(io::stdout),
        Target::Stderr => BoxMakeWriter::new(io::stderr),
    };
    let layer = fmt::layer().event_format(format::Istio { json: options.json }).with_writer(writer);
    let subscriber = Registry::default().with(layer.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LevelError::Twice)?;
    Ok(HANDLE.get_or_init(|| Handle { reload, levels: parking_lot::Mutex::new(levels) }))
}

/// The handle, once logging has started.
pub fn handle() -> Option<&'static Handle> {
    HANDLE.get()
}

impl Handle {
    /// The levels in force.
    pub fn levels(&self) -> Levels {
        self.levels.lock().clone()
    }

    /// Changes some levels: `xds:debug,default:warn`. Scopes that are not named keep theirs.
    ///
    /// # Errors
    /// When the text does not parse; then nothing changes.
    pub fn set(&self, levels: &str) -> Result<(), LevelError> {
        let mut current = self.levels.lock();
        let changed = current.merged(levels)?;
        self.reload.reload(changed.targets()).map_err(|_| LevelError::Gone)?;
        *current = changed;
        Ok(())
    }
}
