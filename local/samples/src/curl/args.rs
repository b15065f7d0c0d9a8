//! The flags of curl that we know.

use std::path::PathBuf;
use std::time::Duration;

/// A parsed command line.
#[derive(Debug, Default, Clone)]
pub struct Args {
    pub urls: Vec<String>,
    pub method: Option<String>,
    pub headers: Vec<(String, String)>,
    pub data: Option<Vec<u8>>,
    pub get: bool,
    pub head: bool,
    pub include: bool,
    pub silent: bool,
    pub show_error: bool,
    pub verbose: bool,
    pub fail: bool,
    pub insecure: bool,
    pub location: bool,
    pub output: Option<PathBuf>,
    pub write_out: Option<String>,
    pub max_time: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub resolve: Vec<(String, u16, String)>,
    pub ca_cert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub version: Version,
    pub retry: u32,
}

/// The HTTP version asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// What the server picks by ALPN; HTTP/1.1 in the clear.
    #[default]
    Any,
    /// `--http1.0`.
    Http10,
    /// `--http1.1`.
    Http11,
    /// `--http2-prior-knowledge`.
    Http2,
}

/// Parses arguments without the program's name. The error names the flag.
pub fn parse(arguments: Vec<String>) -> Result<Args, String> {
    let mut args = Args::default();
    let mut rest = arguments.into_iter();
    let mut flags = true;
    while let Some(argument) = rest.next() {
        match argument.strip_prefix('-') {
            Some("-") if flags => flags = false,
            Some(long) if flags && long.starts_with('-') => long_flag(&mut args, &long[1..], &mut rest)?,
            Some(short) if flags && !short.is_empty() => short_flags(&mut args, short, &mut rest)?,
            _ => args.urls.push(argument),
        }
    }
    if args.urls.is_empty() { Err("no URL specified".into()) } else { Ok(args) }
}

fn short_flags(args: &mut Args, flags: &str, rest: &mut dyn Iterator<Item = String>) -> Result<(), String> {
    for (at, flag) in flags.char_indices() {
        if let Some(name) = switch_name(flag) {
            switch(args, name);
            continue;
        }
        let name = value_name(flag).ok_or_else(|| format!("option -{flag}: is unknown"))?;
        let attached = &flags[at + flag.len_utf8()..];
        let value = if attached.is_empty() { rest.next() } else { Some(attached.to_owned()) };
        return valued(args, name, value.ok_or_else(|| format!("option -{flag}: requires parameter"))?);
    }
    Ok(())
}

fn long_flag(args: &mut Args, name: &str, rest: &mut dyn Iterator<Item = String>) -> Result<(), String> {
    let (name, attached) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
    if switch(args, name) {
        return Ok(());
    }
    let value =
        attached.or_else(|| rest.next()).ok_or_else(|| format!("option --{name}: requires parameter"))?;
    valued(args, name, value)
}

fn switch_name(flag: char) -> Option<&'static str> {
    Some(match flag {
        's' => "silent",
        'S' => "show-error",
        'v' => "verbose",
        'i' => "include",
        'I' => "head",
        'k' => "insecure",
        'L' => "location",
        'f' => "fail",
        'G' => "get",
        '0' => "http1.0",
        '4' => "ipv4",
        'N' => "no-buffer",
        _ => return None,
    })
}

fn value_name(flag: char) -> Option<&'static str> {
    Some(match flag {
        'X' => "request",
        'H' => "header",
        'd' => "data",
        'o' => "output",
        'w' => "write-out",
        'm' => "max-time",
        'A' => "user-agent",
        'b' => "cookie",
        'u' => "user",
        'e' => "referer",
        'E' => "cert",
        _ => return None,
    })
}

/// Sets a flag without value; false where there is none of this name.
fn switch(args: &mut Args, name: &str) -> bool {
    match name {
        "silent" => args.silent = true,
        "show-error" => args.show_error = true,
        "verbose" => args.verbose = true,
        "include" => args.include = true,
        "head" => args.head = true,
        "insecure" => args.insecure = true,
        "location" => args.location = true,
        "fail" => args.fail = true,
        "get" => args.get = true,
        "http1.0" => args.version = Version::Http10,
        "http1.1" => args.version = Version::Http11,
        "http2-prior-knowledge" => args.version = Version::Http2,
        "http2" | "ipv4" | "no-buffer" | "compressed" | "no-progress-meter" => {}
        _ => return false,
    }
    true
}

fn valued(args: &mut Args, name: &str, value: String) -> Result<(), String> {
    match name {
        "request" => args.method = Some(value),
        "header" => args.headers.push(header(&value)?),
        "data" | "data-raw" | "data-binary" | "data-ascii" | "json" => data(args, name, value)?,
        "output" => args.output = Some(value.into()),
        "write-out" => args.write_out = Some(value),
        "max-time" => args.max_time = Some(seconds(name, &value)?),
        "connect-timeout" => args.connect_timeout = Some(seconds(name, &value)?),
        "user-agent" => args.headers.push(("user-agent".into(), value)),
        "cookie" => args.headers.push(("cookie".into(), value)),
        "referer" => args.headers.push(("referer".into(), value)),
        "user" => args.headers.push(("authorization".into(), basic(&value))),
        "url" => args.urls.push(value),
        "resolve" => args.resolve.push(resolve(&value)?),
        "cacert" => args.ca_cert = Some(value.into()),
        "cert" => args.cert = Some(value.into()),
        "key" => args.key = Some(value.into()),
        "retry" => {
            args.retry = value.parse().map_err(|_| format!("option --retry: {value:?} is no number"))?
        }
        _ => return Err(format!("option --{name}: is unknown")),
    }
    Ok(())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("header {text:?} lacks a colon"))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn data(args: &mut Args, name: &str, value: String) -> Result<(), String> {
    let bytes = match value.strip_prefix('@').filter(|_| name != "data-raw") {
        Some(path) => std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?,
        None => value.into_bytes(),
    };
    if name == "json" {
        args.headers.push(("content-type".into(), "application/json".into()));
        args.headers.push(("accept".into(), "application/json".into()));
    }
    let body = args.data.get_or_insert_with(Vec::new);
    if !body.is_empty() {
        body.push(b'&');
    }
    body.extend(bytes);
    Ok(())
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("option --{name}: {value:?} is no time in seconds"))
}

fn basic(user: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user))
}

/// `host:port:address`.
fn resolve(value: &str) -> Result<(String, u16, String), String> {
    let mut parts = value.splitn(3, ':');
    let parsed =
        (|| Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?, parts.next()?.to_owned())))();
    parsed.ok_or_else(|| format!("option --resolve: {value:?} is not host:port:address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn flags_as_tutorials_write_them() {
        let args =
            of("-sS -o/dev/null -w %{http_code} -HHost:a.b -XPOST -d a=1 -d b=2 -m 2.5 http://x/").unwrap();
        assert!(args.silent && args.show_error);
        assert_eq!(args.output.as_deref(), Some(std::path::Path::new("/dev/null")));
        assert_eq!(args.write_out.as_deref(), Some("%{http_code}"));
        assert_eq!(args.headers, [("host".into(), "a.b".into())]);
        assert_eq!(args.method.as_deref(), Some("POST"));
        assert_eq!(args.data.as_deref(), Some(&b"a=1&b=2"[..]));
        assert_eq!(args.max_time, Some(Duration::from_millis(2500)));
        assert_eq!(args.urls, ["http://x/"]);
        let args = of("--resolve a.b:443:10.0.0.1 -k --cacert=ca.pem https://a.b").unwrap();
        assert_eq!(args.resolve, [("a.b".into(), 443, "10.0.0.1".into())]);
        assert!(args.insecure && args.ca_cert.is_some());
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert!(of("--proxy x http://x").unwrap_err().contains("--proxy"));
        assert!(of("-Z http://x").unwrap_err().contains("-Z"));
        assert!(of("-s").unwrap_err().contains("no URL"));
        assert!(of("http://x -o").unwrap_err().contains("requires parameter"));
    }
}
