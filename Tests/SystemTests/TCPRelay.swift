import Foundation
import Testing

/// A relay between a program and a server, so that the server can be away without being stopped for everybody.
final class TCPRelay {
    let port: Int
    private let target: Int
    private var process: Process?

    /// - Parameter target: a port of the loopback interface.
    init(to target: Int) throws {
        self.target = target
        port = try Installation.freePort()
        try start()
    }

    deinit { stop() }

    func start() throws {
        let ready = FileManager.default.temporaryDirectory.appendingPathComponent("relay-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: ready) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", Self.program, "\(port)", "\(target)", ready.path]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        self.process = process
        for _ in 0..<400 where !FileManager.default.fileExists(atPath: ready.path) { usleep(25_000) }
        try #require(FileManager.default.fileExists(atPath: ready.path), "the relay did not start")
    }

    /// Keeps connections open and passes nothing on.
    func pause() { if let process { kill(process.processIdentifier, SIGSTOP) } }

    func resume() { if let process { kill(process.processIdentifier, SIGCONT) } }

    /// Cuts every connection and refuses new ones.
    func stop() {
        guard let process else { return }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        self.process = nil
    }

    private static let program = """
        import socket, sys, threading
        def pump(source, sink):
            try:
                while data := source.recv(65536):
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
        open(sys.argv[3], "w").close()
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
            except OSError:
                client.close()
                continue
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()
        """
}
