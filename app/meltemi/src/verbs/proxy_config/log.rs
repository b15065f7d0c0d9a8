//! `proxy-config log`.

use super::source::Source;
use crate::render::emit;

/// Which levels to set.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Levels {
    /// Levels to set: `debug`, or `http:debug,xds:info`.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub level: String,
    /// Set all levels to the default, `warning`.
    #[arg(short, long)]
    pub reset: bool,
}

impl Levels {
    /// Paths of the admin interface that set the levels, in order.
    fn paths(&self) -> anyhow::Result<Vec<String>> {
        let mut paths = Vec::new();
        if self.reset {
            paths.push("/logging?level=warning".to_owned());
        }
        for part in self.level.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (scope, level) = part.split_once(':').unwrap_or(("level", part));
            let known = ["trace", "debug", "info", "warning", "warn", "error", "critical", "off", "none"];
            if !known.contains(&level) {
                anyhow::bail!("--level {part}: {level:?} is not one of {}", known.join(", "));
            }
            let scope = if matches!(scope, "all" | "default") { "level" } else { scope };
            paths.push(format!("/logging?{scope}={level}"));
        }
        Ok(paths)
    }
}

/// Sets and prints levels.
pub async fn run(source: &Source, levels: &Levels) -> anyhow::Result<()> {
    let paths = levels.paths()?;
    let admin = source.admin()?;
    let mut shown = String::new();
    for path in &paths {
        shown = admin.post(path).await?;
    }
    if paths.is_empty() {
        shown = admin.post("/logging").await?;
    }
    emit(&format!("{}:\n{shown}", source.name()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_become_paths() {
        let levels = |level: &str, reset| Levels { level: level.to_owned(), reset }.paths();
        assert_eq!(levels("debug", false).unwrap(), ["/logging?level=debug"]);
        assert_eq!(
            levels("all:info,http:debug", true).unwrap(),
            ["/logging?level=warning", "/logging?level=info", "/logging?http=debug"]
        );
        assert!(levels("http:loud", false).unwrap_err().to_string().contains("loud"));
    }
}
