//! `envoy.config.accesslog.v3.AccessLog` → [`AccessLogs`].

use meltemi_proto::envoy::config::accesslog::v3 as proto;
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::extensions::access_loggers::{file::v3 as file, stream::v3 as stream};
use meltemi_proto::google::protobuf::Any;
use prost::Name;

use super::filter::Filter;
use super::format::{Format, Text};
use super::json::JsonFormat;
use super::{AccessLogs, Log, Sinks};
use crate::base::reject::{At, Compiled, Reject, each, required, unpack};

/// Envoy's format where none is given.
const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
     %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
     %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
     \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

impl AccessLogs {
    /// Compiles the `access_log` field of a listener, connection manager or TCP proxy.
    ///
    /// # Errors
    /// Names the log and the field, e.g. an unknown command operator or a file that cannot be opened.
    pub fn compile(configs: &[proto::AccessLog], sinks: &Sinks) -> Compiled<Self> {
        Ok(AccessLogs { logs: each("access_log", configs, |config| log(config, sinks))?.into() })
    }
}

fn log(config: &proto::AccessLog, sinks: &Sinks) -> Compiled<Log> {
    let filter = config.filter.as_ref().map(Filter::compile).transpose().at("filter")?;
    let proto::access_log::ConfigType::TypedConfig(any) = required("typed_config", &config.config_type)?;
    let (path, format) = destination(any).at("typed_config")?;
    let sink =
        sinks.open(&path).map_err(|error| Reject::new("typed_config.path", format!("{path}: {error}")))?;
    Ok(Log { filter, format, sink })
}

fn destination(any: &Any) -> Compiled<(String, Format)> {
    if any.type_url == file::FileAccessLog::type_url() {
        let config: file::FileAccessLog = unpack("", any)?;
        if config.path.is_empty() {
            return Err(Reject::new("path", "is empty; for the process's output use /dev/stdout"));
        }
        return Ok((config.path, file_format(config.access_log_format.as_ref())?));
    }
    if any.type_url == stream::StdoutAccessLog::type_url() {
        use stream::stdout_access_log::AccessLogFormat::LogFormat;
        let config: stream::StdoutAccessLog = unpack("", any)?;
        let format = config.access_log_format.as_ref().map(|LogFormat(format)| format);
        return Ok(("/dev/stdout".to_owned(), log_format(format).at("log_format")?));
    }
    if any.type_url == stream::StderrAccessLog::type_url() {
        use stream::stderr_access_log::AccessLogFormat::LogFormat;
        let config: stream::StderrAccessLog = unpack("", any)?;
        let format = config.access_log_format.as_ref().map(|LogFormat(format)| format);
        return Ok(("/dev/stderr".to_owned(), log_format(format).at("log_format")?));
    }
    Err(Reject::new("", format!("access logger {} is not supported", any.type_url)))
}

#[allow(deprecated, reason = "users still write the old fields")]
fn file_format(format: Option<&file::file_access_log::AccessLogFormat>) -> Compiled<Format> {
    use file::file_access_log::AccessLogFormat as F;
    match format {
        None => log_format(None),
        Some(F::Format(text)) if text.is_empty() => log_format(None),
        Some(F::Format(text)) => Ok(Format::Text(Text::compile(text, false).at("format")?)),
        Some(F::JsonFormat(fields)) => {
            Ok(Format::Json(JsonFormat::compile(fields, false).at("json_format")?))
        }
        Some(F::TypedJsonFormat(fields)) => {
            Ok(Format::Json(JsonFormat::compile(fields, false).at("typed_json_format")?))
        }
        Some(F::LogFormat(format)) => log_format(Some(format)).at("log_format"),
    }
}

#[allow(deprecated, reason = "users still write the old field")]
fn log_format(format: Option<&core::SubstitutionFormatString>) -> Compiled<Format> {
    use core::data_source::Specifier;
    use core::substitution_format_string::Format as F;
    let Some(format) = format else { return Ok(Format::Text(Text::compile(DEFAULT_FORMAT, false)?)) };
    let omit = format.omit_empty_values;
    Ok(match &format.format {
        None => Format::Text(Text::compile(DEFAULT_FORMAT, omit)?),
        Some(F::TextFormat(text)) if text.is_empty() => Format::Text(Text::compile(DEFAULT_FORMAT, omit)?),
        Some(F::TextFormat(text)) => Format::Text(Text::compile(text, omit).at("text_format")?),
        Some(F::JsonFormat(fields)) => Format::Json(JsonFormat::compile(fields, omit).at("json_format")?),
        Some(F::TextFormatSource(source)) => match &source.specifier {
            Some(Specifier::InlineString(text)) => {
                Format::Text(Text::compile(text, omit).at("text_format_source.inline_string")?)
            }
            _ => return Err(Reject::new("text_format_source", "only inline_string is supported")),
        },
    })
}
