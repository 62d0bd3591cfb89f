//! The derived columns: what a key alone tells about an object.
//!
//! Questions about kinds of files would otherwise read the whole `key` column, the longest of the
//! snapshot. These columns hold few distinct values and shrink to almost nothing in Parquet.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

/// The longest extension that counts as one, in bytes.
///
/// Real ones end at about 17 (`sublime-workspace`); what is longer is mostly a hash after a dot,
/// different for every object.
pub const MAX_EXTENSION_BYTES: usize = 24;

/// The kind of an object, guessed from its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Private keys, key stores, credentials, environment files.
    Secret,
    /// Terraform state and variable files, which hold secrets in plain text.
    TerraformState,
    /// Dumps, backups and files of databases.
    DatabaseDump,
    /// Programs, libraries, packages and scripts.
    Executable,
    /// Texts, tables, slides, mails.
    Document,
    /// Archives, compressed files and disk images.
    Archive,
    /// Pictures.
    Image,
    /// Films.
    Video,
    /// Log files.
    Log,
    /// Structured data, and models made from it.
    Data,
    /// Everything else.
    Other,
}

impl Category {
    /// All categories, in the order of the table of rules.
    pub const ALL: [Self; 11] = [
        Self::Secret,
        Self::TerraformState,
        Self::DatabaseDump,
        Self::Executable,
        Self::Document,
        Self::Archive,
        Self::Image,
        Self::Video,
        Self::Log,
        Self::Data,
        Self::Other,
    ];

    /// The value in the `category` column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::TerraformState => "terraform-state",
            Self::DatabaseDump => "database-dump",
            Self::Executable => "executable",
            Self::Document => "document",
            Self::Archive => "archive",
            Self::Image => "image",
            Self::Video => "video",
            Self::Log => "log",
            Self::Data => "data",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What makes a key belong to a category. All texts are lower case; keys are compared without
/// regard to ASCII case.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The category.
    pub category: Category,
    /// Extensions, separated by blanks.
    extensions: &'static str,
    /// Whole file names, separated by blanks. They win over extensions.
    names: &'static str,
}

impl Rule {
    /// Extensions of this category.
    pub fn extensions(&self) -> impl Iterator<Item = &'static str> {
        self.extensions.split_whitespace()
    }

    /// Whole file names of this category. They win over extensions.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.split_whitespace()
    }
}

/// The rules. An extension or name stands in one rule only.
const RULES: [Rule; 11] = [
    Rule {
        category: Category::Secret,
        extensions: "pem ppk key p8 pfx p12 pkcs12 jks jceks keystore kdb kdbx keychain ovpn env",
        names: "id_rsa id_dsa id_ecdsa id_ed25519 .env .netrc _netrc .npmrc .pypirc .pgpass .my.cnf \
                .git-credentials .htpasswd .dockercfg .s3cfg .boto .vault-token credentials \
                credentials.csv credentials.json credentials.txt credentials.xml credentials.yaml \
                credentials.yml secrets.json secrets.toml secrets.yaml secrets.yml accesskeys.csv \
                rootkey.csv new_user_credentials.csv client_secret.json service-account.json \
                passwords.csv passwords.txt kubeconfig shadow",
    },
    Rule {
        category: Category::TerraformState,
        extensions: "tfstate tfvars",
        names: "terraform.tfvars.json",
    },
    Rule {
        category: Category::DatabaseDump,
        extensions: "sql dump dmp bak pgdump mysqldump psql rdb bson bacpac dacpac trn db sqlite \
                     sqlite3 mdb accdb mdf ndf ldf ibd myd frm fdb",
        names: "",
    },
    Rule {
        category: Category::Executable,
        extensions: "exe dll msi msix appx scr sys cpl so dylib ko elf class jar war ear apk aab ipa \
                     deb rpm pkg appimage wasm pyc sh bash zsh bat cmd ps1 psm1 vbs vbe wsf hta",
        names: "",
    },
    Rule {
        category: Category::Document,
        extensions: "pdf doc docx docm dot dotx xls xlsx xlsm xlsb ppt pptx pptm pps ppsx odt ods \
                     odp rtf txt md tex htm html epub mobi pages numbers eml msg pst mbox vsd vsdx",
        names: "readme license",
    },
    Rule {
        category: Category::Archive,
        extensions: "zip gz gzip tgz tar bz2 tbz tbz2 xz txz 7z rar zst zstd lz4 lzma lzo br z cab \
                     cpio iso img dmg ova vmdk vhd vhdx qcow2",
        names: "",
    },
    Rule {
        category: Category::Image,
        extensions: "jpg jpeg jpe jfif png gif bmp tif tiff webp svg svgz heic heif avif ico psd ai \
                     eps raw cr2 nef arw dng jp2 dcm",
        names: "",
    },
    Rule {
        category: Category::Video,
        extensions: "mp4 m4v mov avi mkv webm wmv flv mpg mpeg m2ts mts 3gp vob ogv mxf",
        names: "",
    },
    Rule {
        category: Category::Log,
        extensions: "log logs evt evtx err syslog",
        names: "access_log error_log syslog",
    },
    Rule {
        category: Category::Data,
        extensions: "csv tsv json jsonl ndjson geojson xml yaml yml toml parquet parq orc avro arrow \
                     feather ion msgpack cbor h5 hdf5 nc npy npz pkl pickle tfrecord mat sav dta \
                     sas7bdat dat shp las onnx pt pth safetensors gguf",
        names: "",
    },
    Rule {
        category: Category::Other,
        extensions: "",
        // Looks like a database, but is a picture cache that Windows leaves everywhere.
        names: "thumbs.db",
    },
];

/// Extensions that wrap another file: `shop.sql.gz` is a dump rather than an archive.
const WRAPPERS: &str = "gz gzip bz2 xz zst zstd lz4 lzma br z zip 7z bak backup bkp old orig";

/// How many wrappers are looked through, so that a hostile key cannot make work.
pub const MAX_WRAPPERS: usize = 3;

/// The rules as data, for what reckons [`category`] by other means.
pub fn rules() -> impl Iterator<Item = Rule> {
    RULES.into_iter()
}

/// The extensions that wrap another file, see [`category`].
pub fn wrappers() -> impl Iterator<Item = &'static str> {
    WRAPPERS.split(' ')
}

/// All derived values of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived<'a> {
    /// See [`extension`].
    pub extension: Option<Cow<'a, str>>,
    /// See [`top_prefix`].
    pub top_prefix: Option<&'a str>,
    /// See [`category`].
    pub category: Category,
}

impl<'a> Derived<'a> {
    /// Derives all values from a key.
    pub fn of(key: &'a str) -> Self {
        Self {
            extension: extension(key),
            top_prefix: top_prefix(key),
            category: category(key),
        }
    }
}

/// The extension of the file name, in lower case and without its dot.
///
/// `None` if there is none: no dot in the last path segment, or only a leading one (`.bashrc`), or
/// what follows is not the name of a kind of file. That is so for anything longer than
/// [`MAX_EXTENSION_BYTES`], with other characters than ASCII letters, digits, `_` and `-`, or of
/// digits alone (`access.log.1`, `backup.20240131`).
pub fn extension(key: &str) -> Option<Cow<'_, str>> {
    let (_, extension) = split_extension(file_name(key))?;
    if !is_kind(extension) {
        return None;
    }
    Some(lower_case(extension))
}

/// The part of the key before the first `/`; `None` if there is no `/`.
///
/// A key that begins with `/` has the empty top prefix.
pub fn top_prefix(key: &str) -> Option<&str> {
    key.split_once('/').map(|(prefix, _)| prefix)
}

/// The kind of object that the file name promises.
pub fn category(key: &str) -> Category {
    let name = lower_case(file_name(key));
    let mut rest: &str = &name;
    let mut fallback = Category::Other;
    for _ in 0..=MAX_WRAPPERS {
        if let Some(category) = BY_NAME.get(rest) {
            return *category;
        }
        if rest.starts_with(".env.") {
            return Category::Secret;
        }
        let Some((inner, extension)) = split_extension(rest) else {
            return fallback;
        };
        let known = BY_EXTENSION.get(extension).copied().unwrap_or_default();
        if !known.is_wrapper && !is_number(extension) {
            return known.category.unwrap_or(fallback);
        }
        // The outermost wrapper that has a category of its own decides if nothing inside does.
        if fallback == Category::Other {
            fallback = known.category.unwrap_or(Category::Other);
        }
        rest = inner;
    }
    fallback
}

/// The category of every key with this extension, in lower case, whose file name
/// [`has no rule of its own`](may_have_rule); `None` if that depends on what the extension wraps.
pub(crate) fn category_by_extension(extension: &str) -> Option<Category> {
    let known = BY_EXTENSION.get(extension).copied().unwrap_or_default();
    let is_decisive = !known.is_wrapper && !is_number(extension);
    is_decisive.then(|| known.category.unwrap_or(Category::Other))
}

/// Whether a file name as a whole may belong to a category. Tells quickly that most do not.
pub(crate) fn may_have_rule(name: &[u8]) -> bool {
    name.first().is_some_and(|first| {
        let lengths = NAME_LENGTHS[usize::from(*first)];
        lengths >> name.len().min(63) & 1 == 1
    })
}

/// For each first byte a bit for each length of a file name in the rules.
static NAME_LENGTHS: [u64; 256] = {
    let mut lengths = [0; 256];
    let mut rule = 0;
    while rule < RULES.len() {
        let mut names = RULES[rule].names.as_bytes();
        while let [first, rest @ ..] = names {
            let mut length = 0;
            while length < names.len() && !names[length].is_ascii_whitespace() {
                length += 1;
            }
            if length == 0 {
                names = rest;
                continue;
            }
            lengths[*first as usize] |= 1 << length;
            lengths[first.to_ascii_uppercase() as usize] |= 1 << length;
            (_, names) = names.split_at(length);
        }
        rule += 1;
    }
    // `.env.production` and the like, however long.
    lengths[b'.' as usize] = u64::MAX;
    lengths
};

/// What an extension says about a key.
#[derive(Clone, Copy, Default)]
struct Meaning {
    category: Option<Category>,
    /// Whether another file may be inside.
    is_wrapper: bool,
}

static BY_EXTENSION: LazyLock<HashMap<&'static str, Meaning, RandomState>> = LazyLock::new(|| {
    let mut meanings: HashMap<_, Meaning, _> = lookup(|rule| rule.extensions)
        .into_iter()
        .map(|(extension, category)| {
            let category = Some(category);
            (
                extension,
                Meaning {
                    category,
                    is_wrapper: false,
                },
            )
        })
        .collect();
    for wrapper in WRAPPERS.split_whitespace() {
        meanings.entry(wrapper).or_default().is_wrapper = true;
    }
    meanings
});

static BY_NAME: LazyLock<HashMap<&'static str, Category, RandomState>> =
    LazyLock::new(|| lookup(|rule| rule.names));

fn lookup(texts: impl Fn(&Rule) -> &'static str) -> HashMap<&'static str, Category, RandomState> {
    RULES
        .iter()
        .flat_map(|rule| {
            texts(rule)
                .split_whitespace()
                .map(|text| (text, rule.category))
        })
        .collect()
}

fn file_name(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, name)| name)
}

/// Stem and extension; `None` if either would be empty.
fn split_extension(name: &str) -> Option<(&str, &str)> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some((stem, extension))
}

fn is_kind(extension: &str) -> bool {
    extension.len() <= MAX_EXTENSION_BYTES
        && extension
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && !is_number(extension)
}

fn is_number(extension: &str) -> bool {
    extension.bytes().all(|byte| byte.is_ascii_digit())
}

fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extension_table() {
        for (key, expected) in [
            ("a/b/photo.JPG", Some("jpg")),
            ("archive.tar.gz", Some("gz")),
            ("no-extension", None),
            ("dir.d/file", None),
            ("folder.x/", None),
            (".bashrc", None),
            ("home/.env", None),
            (".env.production", Some("production")),
            ("trailing.", None),
            ("access.log.1", None),
            ("backup.20240131", None),
            ("clip.mp4", Some("mp4")),
            ("x.code-workspace", Some("code-workspace")),
            ("x.d41d8cd98f00b204e9800998ecf8427e", None),
            (
                "x.abcdefghijklmnopqrstuvwx",
                Some("abcdefghijklmnopqrstuvwx"),
            ),
            ("x.abcdefghijklmnopqrstuvwxy", None),
            ("x.naïve", None),
            ("x.a b", None),
            ("x.=cmd()", None),
            ("", None),
            (".", None),
            ("..", None),
            ("/", None),
        ] {
            assert_eq!(extension(key).as_deref(), expected, "{key:?}");
        }
    }

    #[test]
    fn top_prefix_table() {
        for (key, expected) in [
            ("logs/2024/x", Some("logs")),
            ("file", None),
            ("/file", Some("")),
            ("//file", Some("")),
            ("folder/", Some("folder")),
            ("日本/x", Some("日本")),
            ("", None),
        ] {
            assert_eq!(top_prefix(key), expected, "{key:?}");
        }
    }

    #[test]
    fn category_table() {
        use Category::{
            Archive, Data, DatabaseDump, Document, Executable, Image, Log, Other, Secret,
            TerraformState, Video,
        };
        for (key, expected) in [
            ("certs/server.pem", Secret),
            ("PuTTY.PPK", Secret),
            ("home/alice/.ssh/id_rsa", Secret),
            ("home/alice/.ssh/id_rsa.pub", Other),
            ("id_rsa.bak", Secret),
            (".env", Secret),
            ("app/.env.production", Secret),
            ("app/prod.env", Secret),
            ("home/.aws/credentials", Secret),
            ("credentials/readme.txt", Document),
            ("live/terraform.tfstate", TerraformState),
            ("live/terraform.tfstate.backup", TerraformState),
            ("env/prod.tfvars", TerraformState),
            ("terraform.tfvars.json", TerraformState),
            ("shop.sql", DatabaseDump),
            ("shop.sql.gz", DatabaseDump),
            ("shop.SQL.GZ.1", DatabaseDump),
            ("crm.bak", DatabaseDump),
            ("photos/Thumbs.db", Other),
            ("setup.exe", Executable),
            ("lib/libssl.so.3", Executable),
            ("report.pdf", Document),
            ("site.tar.gz", Archive),
            ("blob.gz", Archive),
            ("a.gz.gz.gz.gz.gz.gz.gz", Archive),
            ("cat.jpeg", Image),
            ("film.mkv", Video),
            ("access.log.1", Log),
            ("AWSLogs/1/CloudTrail/x.json.gz", Data),
            ("part-0.snappy.parquet", Data),
            ("folder/", Other),
            ("README", Document),
            ("unknown", Other),
            ("x.unknown", Other),
            ("x.unknown.gz", Archive),
            (".gz", Other),
            ("...", Other),
        ] {
            assert_eq!(category(key), expected, "{key:?}");
        }
    }

    #[test]
    fn rules_are_in_order_and_do_not_contradict_each_other() {
        assert_eq!(RULES.map(|rule| rule.category), Category::ALL);
        for texts in [|rule: &Rule| rule.extensions, |rule: &Rule| rule.names] {
            let listed: usize = RULES
                .iter()
                .map(|rule| texts(rule).split_whitespace().count())
                .sum();
            assert_eq!(lookup(texts).len(), listed, "something is listed twice");
        }
        for extension in BY_EXTENSION.keys() {
            assert!(
                is_kind(extension) && lower_case(extension) == *extension,
                "{extension}"
            );
        }
    }

    #[test]
    fn categories_are_spelled_alike_in_columns_and_documents() {
        for category in Category::ALL {
            assert_eq!(serde_json::to_value(category).unwrap(), category.as_str());
        }
    }

    proptest! {
        #[test]
        fn no_key_breaks_the_rules(key in any::<String>()) {
            let derived = Derived::of(&key);
            if let Some(extension) = &derived.extension {
                prop_assert!(is_kind(extension));
                let ending = format!(".{extension}");
                prop_assert!(key.to_ascii_lowercase().ends_with(&ending));
            }
            match derived.top_prefix {
                Some(prefix) => {
                    let with_slash = format!("{prefix}/");
                    prop_assert!(key.starts_with(&with_slash) && !prefix.contains('/'));
                }
                None => prop_assert!(!key.contains('/')),
            }
        }

        #[test]
        fn folders_and_case_do_not_change_the_kind(folder in "[a-z./]{0,9}", name in "[a-z.0-9]{1,20}") {
            let nested = format!("{folder}/{name}");
            prop_assert_eq!(category(&nested), category(&name));
            prop_assert_eq!(category(&name.to_ascii_uppercase()), category(&name));
            prop_assert_eq!(extension(&nested), extension(&name));
        }

        #[test]
        fn a_known_extension_decides(index in 0..BY_EXTENSION.len(), stem in "x[a-z]{0,8}") {
            let (extension, expected) = BY_EXTENSION.iter().nth(index).unwrap();
            let key = format!("folder/{stem}.{extension}");
            let expected = expected.category.unwrap_or(Category::Other);
            prop_assert_eq!(category(&key), expected);
        }
    }
}
