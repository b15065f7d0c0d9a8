//! From a container's specification to a running process.

mod files;
pub(super) mod last_words;
mod service_env;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::claims::Directory;
use super::env::{self, Facts, Sources};
use super::live::{LiveContainer, LivePod, Node, Stdin};
use super::volumes;
use crate::container::log::Log;
use crate::container::runtime::{self, Io, IoWish};
use crate::container::spec::{Container as Wanted, DEFAULT_CAPABILITIES, Process};
use crate::images::Image;

/// Why a container does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It waits, with this reason and message, and may be tried again.
    Waiting(&'static str, String),
    /// It was started and could not become its program.
    Start(String),
}

/// Values of one pod's namespace and of the node.
pub struct PodSources {
    pub(super) node: Arc<Node>,
    pub(super) namespace: String,
    pub(super) facts: Facts,
}

impl Sources for PodSources {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        self.node.config_maps.get(&self.namespace, name).map(|m| volumes::config_map_data(&m))
    }

    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        self.node.secrets.get(&self.namespace, name).map(|s| volumes::secret_data(&s))
    }

    fn claim(&self, name: &str) -> Result<Directory, String> {
        self.node.claimed(&self.namespace, name)
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Starts a container of a pod that has its network and volumes; `run` counts its runs.
pub async fn start(
    sources: &PodSources,
    live: &Arc<LivePod>,
    pod: &Pod,
    container: &Container,
    run: u32,
) -> Result<LiveContainer, Failure> {
    let node = &sources.node;
    let image_name = container.image.as_deref().unwrap_or_default();
    let image = node.images.resolve(image_name).ok_or_else(|| {
        let cure = node.images.cure(image_name);
        Failure::Waiting("ErrImagePull", format!("the image \"{image_name}\" is not known here: {cure}"))
    })?;
    let network = live.network.lock().clone();
    let network = network.ok_or_else(|| Failure::Waiting("ContainerCreating", "no network".into()))?;
    let wanted = describe(sources, pod, container, image, run)?;
    let wish = IoWish { stdin: container.stdin == Some(true), terminal: container.tty == Some(true) };
    let process = wanted.process.clone();
    std::fs::create_dir_all(&wanted.root)
        .map_err(|e| Failure::Waiting("CreateContainerError", e.to_string()))?;
    let (running, io) =
        runtime::run(wanted, network.namespace(), wish).await.map_err(|e| Failure::Start(e.to_string()))?;
    let path = node.logs_of(live).join(&container.name);
    // The run before is kept for `logs --previous`; older ones go, so that a container that restarts for ever fills no disk.
    if let Some(older) = run.checked_sub(2) {
        Log::remove(&path.join(format!("{older}.log")));
    }
    let path = path.join(format!("{run}.log"));
    let log = Log::create(path).map_err(|e| Failure::Start(format!("cannot write the log: {e}")))?;
    let (io, stdin) = share_stdin(io);
    runtime::record(io, &log);
    let mut containers = live.containers.lock();
    let previous = containers.get(&container.name).map(|c| c.log.clone());
    let stdin_once = container.stdin_once == Some(true);
    let made = LiveContainer { running, process, log, previous, stdin, stdin_once };
    containers.insert(container.name.clone(), made.clone());
    Ok(made)
}

fn share_stdin(io: Io) -> (Io, Option<Stdin>) {
    match io {
        Io::Pipes { stdin, stdout, stderr } => {
            let shared = stdin.map(|s| Stdin::Pipe(Arc::new(tokio::sync::Mutex::new(Some(s)))));
            (Io::Pipes { stdin: None, stdout, stderr }, shared)
        }
        Io::Terminal(terminal) => (Io::Terminal(terminal.clone()), Some(Stdin::Terminal(terminal))),
    }
}

fn describe(
    sources: &PodSources,
    pod: &Pod,
    container: &Container,
    image: Image,
    run: u32,
) -> Result<Wanted, Failure> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let node = &sources.node;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let base_dir = node.run_dir.join("pods").join(uid);
    let hostname = files::hostname(pod);
    let config = |e| Failure::Waiting("CreateContainerConfigError", e);
    let mut process = user(spec, container, &image, node.ids_mapped);
    let base = base_environment(sources, spec, &image, &hostname, &process);
    process.env = env::environment(pod, container, &base, sources).map_err(config)?;
    process.argv = command(container, &image, &process.env);
    process.cwd = container.working_dir.clone().or(image.working_dir).unwrap_or_else(|| "/".into());
    process.terminal = container.tty == Some(true);
    let creation = |e: String| Failure::Waiting("CreateContainerError", e);
    let place = volumes::Place { base: &base_dir.join("volumes"), env: &process.env, sources };
    let mut mounts = volumes::mounts(pod, container, &place).map_err(creation)?;
    let last_words = last_words::mount(last_words::place(&base_dir, &container.name, run), container);
    mounts.push(last_words.map_err(|e| creation(format!("terminationMessagePath: {e}")))?);
    let mut all_files = files::etc(pod, &sources.facts, &hostname, process.uid);
    all_files.extend(image.files);
    Ok(Wanted {
        hostname,
        root: base_dir.join("roots").join(format!("{}-{run}", container.name)),
        binary: node.binary.clone(),
        privileged: container.security_context.as_ref().and_then(|s| s.privileged) == Some(true),
        read_only_root: container.security_context.as_ref().and_then(|s| s.read_only_root_filesystem)
            == Some(true),
        files: all_files,
        applets: image.applets,
        host_paths: image.host_paths,
        mounts,
        process,
    })
}

/// The command line, by Kubernetes' table of `command` and `args` against the image's own.
fn command(container: &Container, image: &Image, env: &[(String, String)]) -> Vec<String> {
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let (entry, rest): (&[String], &[String]) = match (command, args) {
        ([], []) => (&image.entrypoint, &image.cmd),
        ([], args) => (&image.entrypoint, args),
        (command, args) => (command, args),
    };
    let given_entry = !command.is_empty();
    let given_args = !args.is_empty() || given_entry;
    let expanded = |text: &String, given: bool| if given { env::expand(text, env) } else { text.clone() };
    let entry = entry.iter().map(|t| expanded(t, given_entry));
    entry.chain(rest.iter().map(|t| expanded(t, given_args))).collect()
}

fn user(spec: &PodSpec, container: &Container, image: &Image, ids_mapped: bool) -> Process {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let id = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    let uid = id(own.and_then(|s| s.run_as_user)).or(id(pod.and_then(|s| s.run_as_user))).or(image.user);
    let gid = id(own.and_then(|s| s.run_as_group)).or(id(pod.and_then(|s| s.run_as_group)));
    let mut groups: Vec<u32> = pod
        .iter()
        .flat_map(|s| s.supplemental_groups.iter().flatten())
        .filter_map(|g| id(Some(*g)))
        .collect();
    groups.extend(id(pod.and_then(|s| s.fs_group)));
    let privileged = own.and_then(|s| s.privileged) == Some(true);
    let changes = own.and_then(|s| s.capabilities.as_ref());
    let capabilities = (!privileged).then(|| {
        if !ids_mapped {
            return unmapped_capabilities();
        }
        capabilities(
            changes.and_then(|c| c.add.as_deref()).unwrap_or_default(),
            changes.and_then(|c| c.drop.as_deref()).unwrap_or_default(),
        )
    });
    Process {
        uid: uid.unwrap_or(0),
        gid: gid.unwrap_or(0),
        groups,
        no_new_privileges: own.and_then(|s| s.allow_privilege_escalation) == Some(false),
        capabilities,
        ids_mapped,
        ..Process::default()
    }
}

/// Where only one user id is mapped every process is root of the user namespace, and a proxy needs NET_ADMIN to mark its sockets.
/// What would let it undo its mounts or look into other pods it does not get.
fn unmapped_capabilities() -> Vec<String> {
    const REFUSED: [&str; 6] = ["MKNOD", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"];
    let all = crate::container::spec::CAPABILITIES.iter();
    all.filter(|name| !REFUSED.contains(name)).map(|name| (*name).to_owned()).collect()
}

fn capabilities(add: &[String], drop: &[String]) -> Vec<String> {
    let plain = |name: &String| name.trim_start_matches("CAP_").to_ascii_uppercase();
    let dropped: Vec<String> = drop.iter().map(plain).collect();
    let all = dropped.iter().any(|d| d == "ALL");
    let kept = DEFAULT_CAPABILITIES.iter().map(|c| (*c).to_owned()).filter(|c| !all && !dropped.contains(c));
    let mut kept: Vec<String> = kept.collect();
    if add.iter().any(|a| plain(a) == "ALL") {
        return crate::container::spec::CAPABILITIES.iter().map(|c| (*c).to_owned()).collect();
    }
    kept.extend(add.iter().map(plain));
    kept
}

fn base_environment(
    sources: &PodSources,
    spec: &PodSpec,
    image: &Image,
    hostname: &str,
    process: &Process,
) -> BTreeMap<String, String> {
    let node = &sources.node;
    let home = match process.uid {
        0 => "/root",
        1337 => "/home/istio-proxy",
        _ => "/",
    };
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME".to_owned(), home.to_owned()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ]);
    if process.terminal {
        env.insert("TERM".into(), "xterm".into());
    }
    if !node.ids_mapped {
        // Only one user exists, so capture cannot tell the proxy by its user id: the proxy marks its sockets instead.
        env.insert("MELTEMI_BYPASS_MARK".into(), "1337".into());
    }
    let links = spec.enable_service_links != Some(false);
    let services = node.services.all();
    env.extend(service_env::variables(services.iter().map(AsRef::as_ref), &sources.namespace, links));
    env.extend(image.env.clone());
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn command_and_args_replace_the_images() {
        let image = Image { entrypoint: vec!["ep".into()], cmd: vec!["cmd".into()], ..Image::default() };
        let env = [("A".to_owned(), "1".to_owned())];
        for (spec, expected) in [
            (json!({"name": "c"}), vec!["ep", "cmd"]),
            (json!({"name": "c", "args": ["$(A)"]}), vec!["ep", "1"]),
            (json!({"name": "c", "command": ["x", "$(A)"]}), vec!["x", "1"]),
            (json!({"name": "c", "command": ["x"], "args": ["y"]}), vec!["x", "y"]),
        ] {
            let container: Container = serde_json::from_value(spec).unwrap();
            assert_eq!(command(&container, &image, &env), expected);
        }
    }

    #[test]
    fn users_and_capabilities() {
        let spec: PodSpec = serde_json::from_value(
            json!({"containers": [], "securityContext": {"runAsUser": 5, "fsGroup": 7}}),
        )
        .unwrap();
        let container: Container = serde_json::from_value(json!({"name": "c", "securityContext": {
            "runAsUser": 1337, "runAsGroup": 1338, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}}))
        .unwrap();
        let process = user(&spec, &container, &Image::default(), true);
        assert_eq!((process.uid, process.gid, process.groups), (1337, 1338, vec![7]));
        assert_eq!(process.capabilities, Some(vec!["NET_ADMIN".to_owned()]));
        assert!(process.no_new_privileges);
        let unmapped = user(&spec, &container, &Image::default(), false).capabilities.unwrap();
        assert!(unmapped.contains(&"NET_ADMIN".to_owned()) && !unmapped.contains(&"SYS_ADMIN".to_owned()));
        let plain = capabilities(&[], &["CAP_CHOWN".into()]);
        assert!(!plain.contains(&"CHOWN".to_owned()) && plain.contains(&"KILL".to_owned()));
    }
}
