import Foundation
import Logging
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Everything that the process says while a test listens: log lines of every level, and what goes to standard output
/// and standard error past the logging system.
///
/// One capture at a time. Loggers that existed before the process's first capture are not heard.
package enum OutputCapture {
    private static let lines = Mutex<[UInt8]?>(nil)
    private static let isBootstrapped: Bool = {
        LoggingSystem.bootstrap { Recorder(label: $0) }
        return true
    }()

    /// Runs `body` and gives what was said meanwhile.
    /// - Parameter repeats: whether standard error then says it after all.
    package static func during(
        repeats: Bool = true, _ body: () async throws -> Void
    ) async throws -> [UInt8] {
        guard isBootstrapped else { return [] }
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("output-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        let descriptor = open(file.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        lines.withLock { $0 = [] }
        fflush(nil)
        let kept = [dup(STDOUT_FILENO), dup(STDERR_FILENO)]
        dup2(descriptor, STDOUT_FILENO)
        dup2(descriptor, STDERR_FILENO)
        close(descriptor)
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        fflush(nil)
        for (kept, original) in zip(kept, [STDOUT_FILENO, STDERR_FILENO]) {
            dup2(kept, original)
            close(kept)
        }
        let written = Array(try Data(contentsOf: file))
        let logged = lines.withLock { lines in
            defer { lines = nil }
            return lines ?? []
        }
        if repeats { FileHandle.standardError.write(Data(written)) }
        try result.get()
        return written + logged
    }

    private struct Recorder: LogHandler {
        private var inner: StreamLogHandler
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata {
            get { inner.metadata }
            set { inner.metadata = newValue }
        }

        init(label: String) { inner = StreamLogHandler.standardError(label: label) }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { inner[metadataKey: key] }
            set { inner[metadataKey: key] = newValue }
        }

        func log(event: LogEvent) {
            let line = "\(event.level) \(event.message) \(self.metadata) \(event.metadata ?? [:])\n"
            lines.withLock { $0?.append(contentsOf: line.utf8) }
            if event.level >= inner.logLevel { inner.log(event: event) }
        }
    }
}
