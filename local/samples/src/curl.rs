//! `curl`: the part of curl that mesh tutorials use, with its flags, messages and exit codes.

mod args;
mod exchange;
mod failure;
mod tls;
mod write_out;

use std::io::Write as _;
use std::process::ExitCode;

use args::Args;
use exchange::Outcome;
use failure::Failure;

/// Runs curl with its arguments; the exit code is curl's.
pub async fn run(arguments: Vec<String>) -> ExitCode {
    let args = match args::parse(arguments) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("curl: {message}\ncurl: (2) this curl knows the common flags only");
            return ExitCode::from(2);
        }
    };
    let mut code = 0;
    for url in &args.urls {
        code = transfer(&args, url).await;
    }
    ExitCode::from(code)
}

async fn transfer(args: &Args, url: &str) -> u8 {
    let mut attempts_left = args.retry;
    loop {
        let result = exchange::follow(args, url).await;
        if result.is_err() && attempts_left > 0 {
            attempts_left -= 1;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            continue;
        }
        return report(args, result);
    }
}

fn report(args: &Args, result: Result<Outcome, Failure>) -> u8 {
    match result {
        Ok(outcome) => match write(args, &outcome) {
            Ok(()) if args.fail && outcome.status >= 400 => {
                complain(args, &Failure::Http(outcome.status));
                22
            }
            Ok(()) => 0,
            Err(error) => {
                eprintln!("curl: (23) cannot write the output: {error}");
                23
            }
        },
        Err(failure) => {
            if let Some(format) = &args.write_out {
                print!("{}", write_out::render(format, &Outcome::default()));
                let _ = std::io::stdout().flush();
            }
            complain(args, &failure);
            failure.code()
        }
    }
}

fn complain(args: &Args, failure: &Failure) {
    if !args.silent || args.show_error {
        eprintln!("curl: ({}) {failure}", failure.code());
    }
}

fn write(args: &Args, outcome: &Outcome) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let body: &[u8] = if args.fail && outcome.status >= 400 { &[] } else { &outcome.body };
    let head: &[u8] = if args.include || args.head { outcome.head.as_bytes() } else { &[] };
    match &args.output {
        Some(path) => std::fs::write(path, [head, body].concat())?,
        None => {
            stdout.write_all(head)?;
            stdout.write_all(body)?;
        }
    }
    if let Some(format) = &args.write_out {
        stdout.write_all(write_out::render(format, outcome).as_bytes())?;
    }
    stdout.flush()
}
