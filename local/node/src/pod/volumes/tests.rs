use super::*;
use crate::pod::claims::Directory;
use crate::pod::env::Facts;
use serde_json::json;

#[derive(Default)]
struct Fixed {
    map: Option<BTreeMap<String, Vec<u8>>>,
    claim: Option<Directory>,
    facts: Facts,
}

impl Sources for Fixed {
    fn config_map(&self, _: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        self.map.clone()
    }

    fn secret(&self, _: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        None
    }

    fn claim(&self, name: &str) -> Result<Directory, String> {
        self.claim.clone().ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }
}

fn with(key: &str, value: &str) -> Fixed {
    Fixed { map: Some([(key.to_owned(), value.as_bytes().to_vec())].into()), ..Fixed::default() }
}

fn pod(volume: serde_json::Value, mount: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "labels": {"app": "x"}},
        "spec": {"volumes": [volume], "containers": [{"name": "c", "volumeMounts": [mount]}]}
    }))
    .unwrap()
}

#[test]
fn config_maps_are_updated_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let pod = pod(json!({"name": "v", "configMap": {"name": "cm"}}), json!({"name": "v", "mountPath": "/m"}));
    materialize(&pod, dir.path(), &with("a", "1"), &Tokens::new()).unwrap();
    let volume = dir.path().join("v");
    assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "1");
    let before = fs::read_link(volume.join("..data")).unwrap();
    materialize(&pod, dir.path(), &with("a", "1"), &Tokens::new()).unwrap();
    assert_eq!(fs::read_link(volume.join("..data")).unwrap(), before, "no change, no swap");
    materialize(&pod, dir.path(), &with("b", "2"), &Tokens::new()).unwrap();
    assert!(!volume.join("a").exists());
    assert_eq!(fs::read_to_string(volume.join("b")).unwrap(), "2");
    assert_eq!(fs::read_dir(&volume).unwrap().count(), 3, "the old version is gone");
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mount = json!({"name": "v", "mountPath": "/m"});
    let missing = pod(json!({"name": "v", "configMap": {"name": "cm"}}), mount.clone());
    let error = materialize(&missing, dir.path(), &Fixed::default(), &Tokens::new()).unwrap_err();
    assert_eq!(error, "MountVolume.SetUp failed for volume \"v\" : configmap \"cm\" not found");
    let optional = pod(json!({"name": "v", "configMap": {"name": "cm", "optional": true}}), mount.clone());
    materialize(&optional, dir.path(), &Fixed::default(), &Tokens::new()).unwrap();
    let unsupported = pod(json!({"name": "v", "nfs": {"server": "s", "path": "/"}}), mount);
    assert!(
        materialize(&unsupported, dir.path(), &Fixed::default(), &Tokens::new())
            .unwrap_err()
            .contains("not supported")
    );
}

#[test]
fn projections_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let volume = json!({"name": "v", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "audience": "istio-ca", "expirationSeconds": 600}},
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "sub/ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
    ]}});
    let pod = pod(volume, json!({"name": "v", "mountPath": "/m"}));
    let wanted = wanted_tokens(&pod);
    assert_eq!(wanted, vec![TokenRequest { audience: Some("istio-ca".into()), seconds: 600 }]);
    let token = Token { text: "t0k".into(), refresh: Timestamp::UNIX_EPOCH };
    let tokens: Tokens = [(wanted[0].clone(), token)].into();
    materialize(&pod, dir.path(), &with("a", "ca"), &tokens).unwrap();
    for (path, text) in [("token", "t0k"), ("sub/ca.crt", "ca"), ("labels", "app=\"x\"")] {
        assert_eq!(fs::read_to_string(dir.path().join("v").join(path)).unwrap(), text);
    }
}

#[test]
fn mounts_of_secrets_are_read_only_and_sub_paths_stay_inside() {
    let dir = tempfile::tempdir().unwrap();
    let sources = with("a", "1");
    let mount_of = |volume: serde_json::Value, mount: serde_json::Value| {
        let pod = pod(volume, mount);
        materialize(&pod, dir.path(), &sources, &Tokens::new()).unwrap();
        mounts(
            &pod,
            &pod.spec.as_ref().unwrap().containers[0],
            &Place { base: dir.path(), env: &[("N".into(), "n1".into())], sources: &Fixed::default() },
        )
    };
    let map = json!({"name": "v", "configMap": {"name": "cm"}});
    let found = mount_of(map.clone(), json!({"name": "v", "mountPath": "/m", "subPath": "a"})).unwrap();
    assert!(
        found[0].read_only
            && found[0].source.is_dir()
            && found[0].sub.as_deref() == Some(std::path::Path::new("a"))
    );
    assert!(mount_of(map.clone(), json!({"name": "v", "mountPath": "/m", "subPath": "../x"})).is_err());
    assert!(mount_of(map, json!({"name": "v", "mountPath": "/m", "subPath": "none"})).is_err());
    let empty = json!({"name": "e", "emptyDir": {}});
    let found = mount_of(empty, json!({"name": "e", "mountPath": "/m", "subPathExpr": "$(N)"})).unwrap();
    assert!(!found[0].read_only && found[0].sub.as_deref() == Some(std::path::Path::new("n1")));
}

#[test]
fn the_expiry_of_a_token_is_read() {
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"exp":1000}"#);
    assert_eq!(token_expiry(&format!("h.{payload}.s")), Some(Timestamp::from_second(1000).unwrap()));
    assert_eq!(token_expiry("garbage"), None);
}

#[test]
fn claims_are_mounted_from_their_directories() {
    let (dir, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
    let pod = pod(volume, json!({"name": "v", "mountPath": "/data", "subPath": "one"}));
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let of = |read_only: bool| Fixed {
        claim: Some(Directory { path: directory.path().into(), read_only }),
        ..Fixed::default()
    };
    let mounted = |sources: &Fixed| mounts(&pod, container, &Place { base: dir.path(), env: &[], sources });
    let error = materialize(&pod, dir.path(), &Fixed::default(), &Tokens::new()).unwrap_err();
    assert!(error.contains("persistentvolumeclaim \"data\" not found"), "{error}");
    assert!(mounted(&of(true)).unwrap_err().contains("does not exist"), "nothing is made in the host's");
    materialize(&pod, dir.path(), &of(false), &Tokens::new()).unwrap();
    let mounts = mounted(&of(false)).unwrap();
    assert_eq!((mounts[0].source.as_path(), mounts[0].read_only), (directory.path(), false));
    assert!(directory.path().join("one").is_dir());
    assert!(mounted(&of(true)).unwrap()[0].read_only);
}
