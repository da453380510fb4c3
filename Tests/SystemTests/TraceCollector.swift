import Foundation
import Testing

/// A collector of traces on loopback that writes down what it gets, one request a line.
final class TraceCollector {
    struct Span {
        let service: String
        let name: String
        let trace: String
        let id: String
        let parent: String
        let attributes: [String: String]
    }

    let port: Int
    private let file: URL
    private let process: Process

    init() throws {
        port = try Installation.freePort()
        file = FileManager.default.temporaryDirectory.appendingPathComponent("spans-\(UUID().uuidString)")
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", Self.program, "\(port)", file.path]
        process.standardInput = FileHandle.nullDevice
        // Whoever reads the tests' output must not wait for it.
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        for _ in 0..<400 where !FileManager.default.fileExists(atPath: file.path) { usleep(25_000) }
        try #require(FileManager.default.fileExists(atPath: file.path), "the collector did not start")
    }

    deinit {
        // It may have been made with SIGTERM blocked.
        kill(process.processIdentifier, SIGKILL)
        try? FileManager.default.removeItem(at: file)
    }

    var bodies: String { (try? String(contentsOf: file, encoding: .utf8)) ?? "" }

    func spans() throws -> [Span] {
        var spans: [Span] = []
        // What follows the last line end is still being written.
        for line in bodies.split(separator: "\n", omittingEmptySubsequences: false).dropLast() where !line.isEmpty {
            let request = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            for resource in request["resourceSpans"] as? [[String: Any]] ?? [] {
                let about = Self.attributes((resource["resource"] as? [String: Any])?["attributes"])
                for scope in resource["scopeSpans"] as? [[String: Any]] ?? [] {
                    for span in scope["spans"] as? [[String: Any]] ?? [] {
                        spans.append(
                            Span(
                                service: about["service.name"] ?? "", name: span["name"] as? String ?? "",
                                trace: span["traceId"] as? String ?? "", id: span["spanId"] as? String ?? "",
                                parent: span["parentSpanId"] as? String ?? "",
                                attributes: Self.attributes(span["attributes"])))
                    }
                }
            }
        }
        return spans
    }

    private static func attributes(_ list: Any?) -> [String: String] {
        var attributes: [String: String] = [:]
        for attribute in list as? [[String: Any]] ?? [] {
            guard let key = attribute["key"] as? String, let value = attribute["value"] as? [String: Any] else {
                continue
            }
            attributes[key] = value["stringValue"] as? String ?? value["intValue"] as? String
        }
        return attributes
    }

    private static let program = """
        import http.server, sys
        class Collector(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with open(sys.argv[2], "ab") as file:
                    file.write(body + b"\\n")
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")
            def log_message(self, *arguments):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector)
        open(sys.argv[2], "w").close()
        server.serve_forever()
        """
}
