//! A real Prometheus that scrapes one target.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Command};

use serde_json::Value;

use crate::{
    http::{encode, get, try_get},
    process::{Server, free_port, run_with_input},
};

/// What Prometheus is told about the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrape {
    /// OpenMetrics text with classic histograms, and exemplars.
    OpenMetrics,
    /// Protobuf with native histograms.
    NativeHistograms,
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    url: String,
}

/// One series of an instant query: its labels and its value.
pub type Sample = (BTreeMap<String, String>, f64);

impl Prometheus {
    /// Starts it on `target`, scraped twice a second.
    pub fn start(program: &Path, target: SocketAddr, scrape: Scrape) -> Self {
        let command = |folder: &Path| {
            let port = free_port();
            // 3.x reads the protobuf form only where the scrape configuration says so; 2.x knows the flag instead.
            let native = if scrape == Scrape::NativeHistograms && major_version(program) >= 3 {
                "    scrape_native_histograms: true\n    scrape_protocols: [PrometheusProto]\n"
            } else {
                ""
            };
            let config = format!(
                "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
                 scrape_configs:\n  - job_name: journey\n{native}    static_configs: [{{targets: ['{target}']}}]\n"
            );
            let file = folder.join("prometheus.yml");
            fs::write(&file, config).expect("a configuration file");
            let features = match scrape {
                Scrape::OpenMetrics => "exemplar-storage",
                Scrape::NativeHistograms => "exemplar-storage,native-histograms",
            };
            let mut command = Command::new(program);
            command
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg(format!("--enable-feature={features}"))
                .arg("--log.level=warn");
            (command, format!("http://127.0.0.1:{port}"))
        };
        let ready = |url: &String| try_get(&format!("{url}/-/ready"), &[]).is_ok_and(|answer| answer.status == 200);
        let (server, url) = Server::start("prometheus", command, ready);
        Self { server, url }
    }

    /// The samples of an instant query.
    ///
    /// # Panics
    ///
    /// Prometheus refuses the query.
    pub fn query(&self, query: &str) -> Vec<Sample> {
        let answer = get(&format!("{}/api/v1/query?query={}", self.url, encode(query))).json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let samples = answer["data"]["result"].as_array().expect("a list of samples");
        samples.iter().map(|sample| (labels(&sample["metric"]), number(&sample["value"][1]))).collect()
    }

    /// The one value of an instant query; `None` where there is no sample (yet).
    pub fn value(&self, query: &str) -> Option<f64> {
        let samples = self.query(query);
        assert!(samples.len() < 2, "{query} has {} samples", samples.len());
        samples.first().map(|(_, value)| *value)
    }

    /// The exemplars of the last ten minutes: the labels of each.
    pub fn exemplars(&self, query: &str) -> Vec<BTreeMap<String, String>> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
        let (start, end) = (now.as_secs() - 600, now.as_secs() + 60);
        let url = format!("{}/api/v1/query_exemplars?query={}&start={start}&end={end}", self.url, encode(query));
        let answer = get(&url).json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let series = answer["data"].as_array().expect("a list of series");
        let exemplars = series.iter().flat_map(|series| series["exemplars"].as_array().into_iter().flatten());
        exemplars.map(|exemplar| labels(&exemplar["labels"])).collect()
    }

    /// Why the last scrape failed; empty where it did not.
    pub fn last_scrape_error(&self) -> String {
        let targets = get(&format!("{}/api/v1/targets", self.url)).json();
        targets["data"]["activeTargets"][0]["lastError"].as_str().unwrap_or_default().to_owned()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

/// Runs `promtool check metrics` on a text: whether it is satisfied, and all it says.
pub fn promtool_check(program: &Path, text: &str) -> (bool, String) {
    run_with_input(Command::new(program).args(["check", "metrics"]), text)
}

fn major_version(program: &Path) -> u32 {
    let output = Command::new(program).arg("--version").output().expect("prometheus tells its version");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let version = said.split_whitespace().skip_while(|word| *word != "version").nth(1).unwrap_or_default();
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_else(|| panic!("no version in: {said}"))
}

fn labels(metric: &Value) -> BTreeMap<String, String> {
    let labels = metric.as_object().expect("labels");
    labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn number(value: &Value) -> f64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no number: {value}"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
