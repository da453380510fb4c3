import Logging

/// How log lines look.
public enum LogFormat: String, Sendable, CaseIterable {
    /// For people.
    case text
    /// One JSON object a line.
    case json

    /// Has all loggers of the process write to standard error. To be called once.
    public func bootstrap(level: Logger.Level) {
        LoggingSystem.bootstrap { label in
            var handler: any LogHandler =
                switch self {
                case .text: StreamLogHandler.standardError(label: label)
                case .json: JSONLogHandler(component: label)
                }
            handler.logLevel = level
            return handler
        }
    }
}
