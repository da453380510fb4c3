/// Every metric of gateway and evaluation unit; docs/observability.md has the same table.
public enum MetricCatalog {
    public static let httpRequests = MetricDefinition.counter(
        "hkms_http_requests_total", "Requests answered, by pattern of the route.",
        labels: ["method", "route", "status"])
    public static let httpRequestDuration = MetricDefinition.histogram(
        "hkms_http_request_duration_seconds", "From a request's head to the last byte of its answer.",
        labels: ["method", "route", "status"])
    public static let httpRequestsInFlight = MetricDefinition.gauge(
        "hkms_http_requests_in_flight", "Requests whose answers are not yet written.")
    public static let problems = MetricDefinition.counter(
        "hkms_problems_total", "Requests refused or failed, by name of the problem.", labels: ["problem"])
    public static let ready = MetricDefinition.gauge(
        "hkms_ready", "1 where the last answer of /readyz was ready, 0 where it was not.")

    public static let stageDuration = MetricDefinition.histogram(
        "hkms_stage_duration_seconds", "Stages of operations: opening, derivation, encryption, evaluation.",
        labels: ["stage"])
    public static let kmsDuration = MetricDefinition.histogram(
        "hkms_kms_duration_seconds", "Calls of the trusted KMS.", labels: ["provider", "operation", "outcome"])
    public static let storageDuration = MetricDefinition.histogram(
        "hkms_storage_duration_seconds", "Calls of the object store and the metadata store.",
        labels: ["store", "operation", "outcome"])

    public static let decryptions = MetricDefinition.counter(
        "hkms_decryptions_total", "Ciphertexts whose decryption was debited, of all key sets together.")
    public static let budgetsExhausted = MetricDefinition.counter(
        "hkms_budgets_exhausted_total", "Decryptions refused because a key set's budget is used up.")
    public static let decryptionFailures = MetricDefinition.counter(
        "hkms_decryption_failures_total", "Decryptions that failed after the seed was opened.")
    public static let suspensions = MetricDefinition.counter(
        "hkms_keyset_suspensions_total", "Key sets suspended because of such failures.")

    public static let computeThreads = MetricDefinition.gauge(
        "hkms_compute_threads", "Threads for homomorphic arithmetic.")
    public static let computeRunning = MetricDefinition.gauge(
        "hkms_compute_running", "Pieces of work on those threads.")
    public static let computeWaiting = MetricDefinition.gauge(
        "hkms_compute_waiting", "Pieces of work that wait for a thread.")
    public static let computeQueueLimit = MetricDefinition.gauge(
        "hkms_compute_queue_limit", "How many may wait before others are refused.")
    public static let jobsRunning = MetricDefinition.gauge("hkms_jobs_running", "Jobs in the background.")
    public static let keyCache = MetricDefinition.counter(
        "hkms_unit_key_cache_total", "Evaluations that found all their keys in the unit (hit), or not (miss).",
        labels: ["result"])
    public static let keyCacheBytes = MetricDefinition.gauge(
        "hkms_unit_key_cache_bytes", "Manifests and evaluation keys in the unit's memory.")
    public static let lockedMemory = MetricDefinition.gauge(
        "hkms_locked_memory_bytes", "Memory that this process has locked: secrets and what is kept for them.")
    public static let lockedMemoryLimit = MetricDefinition.gauge(
        "hkms_locked_memory_limit_bytes", "How much it may lock; +Inf where there is no limit.")

    public static let auditSequence = MetricDefinition.gauge(
        "hkms_audit_head_sequence", "Number of the audit log's last line.")
    public static let auditAvailable = MetricDefinition.gauge(
        "hkms_audit_available", "1 while the audit log can be written.")
    public static let auditSinkWaiting = MetricDefinition.gauge(
        "hkms_audit_sink_waiting", "Lines that a sink has not yet taken.", labels: ["sink"])
    public static let auditSinkDropped = MetricDefinition.counter(
        "hkms_audit_sink_dropped_total", "Lines that a sink was never sent.", labels: ["sink"])

    public static let certificateReloads = MetricDefinition.counter(
        "hkms_certificate_reloads_total", "Certificates looked for anew: renewed or failed.", labels: ["outcome"])
    public static let spansExported = MetricDefinition.counter(
        "hkms_trace_spans_exported_total", "Spans that the collector took.")
    public static let spansDropped = MetricDefinition.counter(
        "hkms_trace_spans_dropped_total", "Spans that were thrown away: the queue was full, or nobody took them.",
        labels: ["reason"])
    public static let seriesRefused = MetricDefinition.counter(
        "hkms_metrics_refused_total", "Values that had no place: too many series, or one name for two kinds.")

    /// In no particular order; no two have one name.
    public static let all: [MetricDefinition] = [
        httpRequests, httpRequestDuration, httpRequestsInFlight, problems, ready, stageDuration, kmsDuration,
        storageDuration, decryptions, budgetsExhausted, decryptionFailures, suspensions, computeThreads,
        computeRunning, computeWaiting, computeQueueLimit, jobsRunning, keyCache, keyCacheBytes, lockedMemory,
        lockedMemoryLimit, auditSequence, auditAvailable, auditSinkWaiting, auditSinkDropped, certificateReloads,
        spansExported, spansDropped, seriesRefused,
    ]
}
