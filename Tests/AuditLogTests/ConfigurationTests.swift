import AuditLog
import ServiceKit
import Testing

@Suite("Configuration of the audit log") struct ConfigurationTests {
    private func read(_ text: String) throws -> AuditConfiguration {
        let document = try YAMLDocument(text: text, name: "hkms.yaml")
        let configuration = AuditConfiguration(document.root.optionalSection("audit"), directory: "/etc/hkms")
        try document.finish()
        return configuration
    }

    @Test func `what is not said has a default`() throws {
        for text in ["", "audit: {}"] {
            let configuration = try read(text)
            #expect(configuration.directory == "/etc/hkms/audit" && configuration.fileBytes == 64 << 20)
            #expect(configuration.hashed.isEmpty && configuration.publicKeys.isEmpty && configuration.sinks.isEmpty)
        }
    }

    @Test func `everything is read`() throws {
        let key = try Bench.key(7).verificationKey
        let configuration = try read(
            """
            audit:
              directory: /var/log/hkms
              fileMiB: 3
              hash: [subject, keySet]
              publicKeys: ["\(key.hex)"]
              queued: 77
              sinks:
                - name: siem
                  kind: http
                  url: https://siem.example:8443/hkms?x=1
                  tokenFile: siem.token
                  caCertificate: ca.pem
                  required: true
                - {name: local, kind: syslog}
                - {name: far, kind: syslogTCP, host: logs.example}
            """)
        #expect(configuration.directory == "/var/log/hkms" && configuration.fileBytes == 3 << 20)
        #expect(configuration.hashed == [.subject, .keySet] && configuration.publicKeys == [key])
        #expect(configuration.queued == 77)
        #expect(
            configuration.sinks == [
                AuditSinkSettings(
                    name: "siem", kind: .http, isRequired: true, url: "https://siem.example:8443/hkms?x=1",
                    tokenFile: "/etc/hkms/siem.token", caCertificate: "/etc/hkms/ca.pem", socket: "", port: 0),
                AuditSinkSettings(name: "local", kind: .syslog, port: 0),
                AuditSinkSettings(name: "far", kind: .syslogTCP, socket: "", host: "logs.example"),
            ])
        #expect(configuration.sinks.map(\.isLocal) == [false, false, false])
    }

    @Test(
        "what is wrong is told with its line",
        arguments: [
            ("directry: x", "unknown key"), ("fileMiB: 0", "fileMiB"), ("hash: [issuer]", "subject, tenant"),
            ("publicKeys: [x]", "Ed25519"), ("sinks: [{name: a, kind: smtp}]", "kind"),
            ("sinks: [{kind: syslog}]", "name"), ("sinks: [{name: \"a b\", kind: syslog}]", "printable"),
            ("sinks: [{name: a, kind: syslog}, {name: a, kind: syslog}]", "two sinks"),
            ("sinks: [{name: a, kind: http}]", "url"), ("sinks: [{name: a, kind: http, url: \"ftp://x\"}]", "https"),
            ("sinks: [{name: a, kind: http, url: \"http://siem.example/\"}]", "on this machine"),
            ("sinks: [{name: a, kind: http, url: \"http://127.0.0.1@siem.example/\"}]", "url"),
            ("sinks: [{name: a, kind: http, url: \"https:///x\"}]", "url"),
            ("sinks: [{name: a, kind: syslog, url: \"https://x\"}]", "unknown key"),
            ("sinks: [{name: a, kind: syslogTCP}]", "host"),
        ])
    func wrong(entry: String, word: String) throws {
        do {
            _ = try read("audit:\n  \(entry)\n")
            Issue.record("taken: \(entry)")
        } catch let error as ConfigurationError {
            #expect(error.issues.contains { $0.line == 2 && $0.message.contains(word) }, "\(error)")
        }
    }

    @Test func `plain HTTP goes to this machine alone`() throws {
        for host in ["127.0.0.1:8080", "[::1]:8080", "localhost"] {
            let sinks = try read("audit: {sinks: [{name: a, kind: http, url: \"http://\(host)/x\"}]}").sinks
            #expect(sinks[0].isLocal)
        }
    }
}
