import Observability
import ServerKit
import ServiceKit
import Testing

/// The sections `metrics` and `tracing`.
@Suite struct SettingsTests {
    private func read(_ text: String, trustIncoming: Bool = false) throws -> ObservabilitySettings {
        let document = try YAMLDocument(text: text, name: "hkms.yaml")
        _ = document.root.bool("development", default: false)
        let settings = ObservabilitySettings(document.root, trustIncoming: trustIncoming) { "/etc/" + $0 }
        try document.finish()
        return settings
    }

    private func refusal(_ text: String) -> String {
        do {
            _ = try read(text)
            return "nothing"
        } catch { return "\(error)" }
    }

    @Test func `without the sections there is nothing`() throws {
        #expect(try read("") == ObservabilitySettings())
    }

    @Test func `everything that can be said`() throws {
        let settings = try read(
            """
            metrics: {listen: {host: 0.0.0.0, port: 9000, tls: {certificate: m.pem, key: m.key}}}
            tracing:
              endpoint: https://collector.example:4318
              ratio: 0.25
              trustIncoming: true
              caCertificate: ca.pem
              headersFile: collector.headers
            """)
        #expect(settings.metrics?.host == "0.0.0.0" && settings.metrics?.port == 9000)
        #expect(settings.metrics?.tls?.files == CertificateFiles(certificate: "/etc/m.pem", key: "/etc/m.key"))
        #expect(
            settings.tracing
                == TracingSettings(
                    endpoint: "https://collector.example:4318/v1/traces", ratio: 0.25, trustIncoming: true,
                    tls: ClientTLS(authorities: "/etc/ca.pem"), headersFile: "/etc/collector.headers"))
    }

    @Test func `what is not said`() throws {
        let settings = try read("development: true\nmetrics: {}\ntracing: {endpoint: 'http://[::1]:4318/'}\n")
        #expect(settings.metrics == ListenAddress(host: "127.0.0.1", port: 9464))
        #expect(settings.tracing == TracingSettings(endpoint: "http://[::1]:4318/v1/traces"))
        let unit = try read("tracing: {endpoint: 'https://c/otlp/v1/traces'}", trustIncoming: true)
        #expect(unit.tracing == TracingSettings(endpoint: "https://c/otlp/v1/traces", trustIncoming: true))
        let wary = try read("tracing: {endpoint: 'https://c', trustIncoming: false}", trustIncoming: true)
        #expect(wary.tracing?.trustIncoming == false)
    }

    @Test(arguments: [
        ("metrics: {}", "metrics.listen: needs tls"),
        ("development: true\nmetrics: {listen: {host: 0.0.0.0}}", "metrics.listen.host: must be 127.0.0.1"),
        ("development: true\nmetrics: {listen: {port: 65536}}", "metrics.listen.port"),
        ("metrics: {where: here}", "where"),
        ("tracing: {}", "tracing.endpoint"), ("tracing: {endpoint: collector}", "tracing.endpoint: must be https://"),
        ("tracing: {endpoint: 'http://collector:4318'}", "http:// is for 127.0.0.1"),
        ("tracing: {endpoint: 'https://a:b@collector'}", "tracing.endpoint: must be https://"),
        ("tracing: {endpoint: 'https://collector?key=v'}", "tracing.endpoint: must be https://"),
        ("tracing: {endpoint: 'ftp://collector'}", "tracing.endpoint: must be https://"),
        ("tracing: {endpoint: 'https://c', ratio: 1.5}", "tracing.ratio: must be a number from 0 to 1"),
        ("tracing: {endpoint: 'https://c', ratio: nan}", "tracing.ratio"),
        ("tracing: {endpoint: 'https://c', ration: 1}", "ration"),
    ]) func refused(text: String, message: String) {
        #expect(refusal(text).contains(message), "\(refusal(text))")
    }
}
