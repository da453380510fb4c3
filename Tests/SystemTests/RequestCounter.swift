import Foundation
import Testing

/// A relay in front of a server that notes each connection and, where they are not encrypted, each HTTP request.
final class RequestCounter {
    let port: Int
    private let process = Process()
    private let log: URL
    private var seen = 0

    /// - Parameter target: a port of the loopback interface.
    init(to target: Int) throws {
        port = try Installation.freePort()
        log = FileManager.default.temporaryDirectory.appendingPathComponent("requests-\(UUID().uuidString)")
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", Self.program, "\(port)", "\(target)", log.path]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        for _ in 0..<400 where !FileManager.default.fileExists(atPath: log.path) { usleep(25_000) }
        try #require(FileManager.default.fileExists(atPath: log.path), "the relay did not start")
    }

    deinit { stop() }

    func stop() {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(at: log)
    }

    /// What came since the last time, in order: `connect`, or `POST /v1/...`. A request is noted before it is passed on.
    func take() throws -> [String] {
        let lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n").map(String.init)
        defer { seen = lines.count }
        return Array(lines[seen...])
    }

    private static let program = """
        import re, socket, sys, threading
        lock = threading.Lock()
        log = open(sys.argv[3], "w", buffering=1)
        def note(line):
            with lock: log.write(line + "\\n")
        def pump(source, sink, watch):
            pending, body = b"", 0
            try:
                while data := source.recv(65536):
                    if watch and not (not pending and body == 0 and data[0] == 0x16):
                        rest = data
                        while rest:
                            skipped = min(body, len(rest))
                            body, rest = body - skipped, rest[skipped:]
                            if not rest: break
                            pending += rest
                            rest = b""
                            end = pending.find(b"\\r\\n\\r\\n")
                            if end >= 0:
                                head, rest, pending = pending[:end], pending[end + 4:], b""
                                note(head.split(b" HTTP/")[0].decode())
                                length = re.search(rb"(?im)^content-length: *(\\d+)", head)
                                body = int(length.group(1)) if length else 0
                    else:
                        watch = False
                    sink.sendall(data)
            except OSError:
                pass
            for s in (source, sink):
                try: s.shutdown(socket.SHUT_RDWR)
                except OSError: pass
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(sys.argv[1])))
        listener.listen(64)
        while True:
            client, _ = listener.accept()
            note("connect")
            server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
            threading.Thread(target=pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=pump, args=(server, client, False), daemon=True).start()
        """
}
