/// Everything that is wrong with a configuration file, each with its line.
public struct ConfigurationError: Error, Equatable, Sendable {
    /// One thing that is wrong.
    public struct Issue: Hashable, Sendable, CustomStringConvertible {
        /// The file's name as it was given.
        public let file: String
        /// The line, from 1.
        public let line: Int
        /// What is wrong and what is expected.
        public let message: String

        public init(file: String, line: Int, message: String) {
            self.file = file
            self.line = line
            self.message = message
        }

        public var description: String { "\(file):\(line): \(message)" }
    }

    /// In the order of their lines; at least one.
    public let issues: [Issue]

    public init(_ issues: [Issue]) {
        self.issues = issues
    }

    public init(file: String, line: Int, message: String) {
        self.init([Issue(file: file, line: line, message: message)])
    }
}

extension ConfigurationError: CustomStringConvertible {
    /// One line an issue, `file:line: message`.
    public var description: String { issues.map(\.description).joined(separator: "\n") }
}
