//! The index page and the list of paths.

use std::fmt::Write;

use http::StatusCode;

use super::{Access, Answer, PATHS};

pub(super) fn html() -> Answer {
    let mut rows = String::new();
    for (path, what, access, _) in PATHS.iter().filter(|(path, ..)| *path != "/") {
        let action = match access {
            Access::Reads => format!("<a href=\"{}\">{path}</a>", path.trim_start_matches('/')),
            Access::Changes => {
                let target = path.trim_start_matches('/');
                format!("<form action=\"{target}\" method=\"post\"><button>{path}</button></form>")
            }
        };
        // Writing to memory does not fail.
        let _ = writeln!(rows, "<tr><td>{action}</td><td>{what}</td></tr>");
    }
    Answer::html(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Meltemi proxy admin</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#123;background:#fcfdfe}}\
         table{{border-collapse:collapse;width:100%}}td{{padding:.3rem .6rem;border-top:1px solid #dde6ee}}\
         form{{margin:0}}button{{font:inherit;color:#8a2b06;border:1px solid #e0b8a4;background:#fff6f1;border-radius:4px;cursor:pointer}}\
         a{{color:#05628c}}</style></head>\n<body><h1>Meltemi proxy admin</h1><table>\n{rows}</table></body></html>\n"
    ))
}

pub(super) fn text() -> Answer {
    Answer::text(list())
}

pub(super) fn unknown(path: &str) -> Answer {
    Answer::problem(StatusCode::NOT_FOUND, format!("no admin path {path:?}; there are:\n{}", list()))
}

fn list() -> String {
    let mut text = String::from("admin commands are:\n");
    for (path, what, access, _) in PATHS {
        let post = if *access == Access::Changes { " (POST)" } else { "" };
        let _ = writeln!(text, "  {path}: {what}{post}");
    }
    text
}
