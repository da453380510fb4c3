import Logging
import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// One JSON object a line: `time`, `level`, `message`, `component` and the metadata.
///
/// Everything that was said is escaped: nobody's name or path can make a line that nobody wrote.
public struct JSONLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    public var logLevel = Logger.Level.info
    private let component: String
    private let clock: @Sendable () -> Date
    private let write: @Sendable (String) -> Void

    private static let reserved: Set = ["time", "level", "message", "component"]

    /// - Parameters:
    ///   - component: what says so, unless metadata has another `component`.
    ///   - write: takes whole lines.
    public init(
        component: String, clock: @escaping @Sendable () -> Date = { Date() },
        write: @escaping @Sendable (String) -> Void = StandardError.write
    ) {
        self.component = component
        self.clock = clock
        self.write = write
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var all = metadata
        all.merge(metadataProvider?.get() ?? [:]) { $1 }
        all.merge(event.metadata ?? [:]) { $1 }
        var component = JSONText.quoted(self.component)
        if case .string(let name) = all["component"] {
            component = JSONText.quoted(name)
            all["component"] = nil
        }
        var members = [
            (name: "time", json: JSONText.quoted(clock().formatted(Self.timeStyle))),
            (name: "level", json: JSONText.quoted(event.level.rawValue)),
            (name: "message", json: JSONText.quoted(event.message.description)),
            (name: "component", json: component),
        ]
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            let name = Self.reserved.contains(key) ? "metadata.\(key)" : key
            members.append((name: name, json: Self.json(value)))
        }
        write(JSONText.object(members) + "\n")
    }

    private static let timeStyle = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    private static func json(_ value: Logger.Metadata.Value) -> String {
        switch value {
        case .string(let text): JSONText.quoted(text)
        case .stringConvertible(let value): JSONText.quoted(value.description)
        case .array(let values): JSONText.array(values.map(json))
        case .dictionary(let values):
            JSONText.object(values.sorted { $0.key < $1.key }.map { (name: $0.key, json: json($0.value)) })
        }
    }
}

/// Where log lines go.
public enum StandardError {
    private static let lock = Mutex(())

    /// Writes all of `line`, and nothing of another in between.
    @Sendable public static func write(_ line: String) {
        let bytes = Array(line.utf8)
        lock.withLock { _ in
            var rest = bytes[...]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { systemWrite(STDERR_FILENO, $0.baseAddress, $0.count) }
                if written < 0 {
                    // There is nobody left to be told.
                    guard errno == EINTR else { return }
                } else {
                    rest = rest.dropFirst(written)
                }
            }
        }
    }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    #if canImport(Glibc)
        Glibc.write(descriptor, bytes, count)
    #elseif canImport(Musl)
        Musl.write(descriptor, bytes, count)
    #else
        Darwin.write(descriptor, bytes, count)
    #endif
}
