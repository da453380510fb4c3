import Attestation
import LocalFiles

/// What a log that verifies is made of.
public struct AuditReport: Sendable, Hashable {
    public var files = 0
    public var lines = 0
    public var operations = 0
    public var denied = 0
    public var checkpoints = 0
    /// Times that the log went on after a crash or a failure.
    public var recoveries = 0
    /// The number of the first line.
    public var first = 0
    public var head = AuditHead.origin
    public var installation = ""
    public var firstTime: AuditTime?
    public var lastTime: AuditTime?
    /// Keys that sign.
    public var keys: [VerificationKey] = []
    /// Whether these are keys that the verifier was given. If not, somebody else may have written the whole log.
    public var isKeyGiven = false
}

/// Reads a log from its first line to its last, in constant memory, and stops at the first fault.
public struct AuditVerification: Sendable {
    /// Whose signatures count; where empty, those of the keys that the log itself names.
    public var trusted: [VerificationKey]
    /// What the first line follows, where earlier files are archived; nil for a log from its beginning.
    public var after: AuditHead?
    /// Lines that the log must have.
    public var expected: [AuditHead]

    public init(trusted: [VerificationKey] = [], after: AuditHead? = nil, expecting expected: [AuditHead] = []) {
        self.trusted = trusted
        self.after = after
        self.expected = expected
    }

    /// The files of a log in its order.
    /// - Parameter path: of the folder.
    public static func files(in path: String) throws(AuditFault) -> [String] {
        let names: [String]
        do throws(SystemError) {
            names = try AuditRecovery.fileNames(in: FileDescriptor(directory: path))
        } catch {
            throw AuditFault(kind: .unreadable, file: path, line: 0, message: "cannot be read: \(error)")
        }
        guard !names.isEmpty else {
            throw AuditFault(kind: .missing, file: path, line: 0, message: "holds no audit log")
        }
        return names.map { path + "/" + $0 }
    }

    /// Verifies files in their order.
    /// - Parameter visit: is shown each line as it is read, before what follows it is known to be good.
    public func run(
        _ files: [String], visit: (AuditLine) -> Void = { _ in }
    ) throws(AuditFault) -> AuditReport {
        var walk = Walk(self)
        for file in files { try walk.read(file, visit) }
        return try walk.finish()
    }
}

/// The way through a log.
private struct Walk {
    private var chain: AuditChain
    private var report = AuditReport()
    private var missing: [AuditHead]
    private var file = ""
    private var line = 0

    init(_ verification: AuditVerification) {
        chain = AuditChain(trusted: verification.trusted, after: verification.after ?? .origin)
        report.isKeyGiven = !verification.trusted.isEmpty
        missing = verification.expected.filter { $0.sequence > 0 && $0 != verification.after }
    }

    mutating func read(_ file: String, _ visit: (AuditLine) -> Void) throws(AuditFault) {
        (self.file, line) = (file, 0)
        report.files += 1
        var found: AuditFault?
        do throws(SystemError) {
            var reader = LineReader(try FileDescriptor(file: file))
            while found == nil, let bytes = try reader.next() {
                line += 1
                do throws(AuditFault) {
                    visit(try add(bytes))
                } catch {
                    found = error
                }
            }
        } catch {
            throw fault(.unreadable, "cannot be read: \(error)")
        }
        if let found { throw found }
        if line == 0 { throw fault(.missing, "is empty") }
    }

    private mutating func add(_ bytes: [UInt8]) throws(AuditFault) -> AuditLine {
        let next: AuditLine
        do throws(AuditChain.Break) {
            next = try chain.add(bytes, isFirst: line == 1)
        } catch {
            let isStart = error.kind == .sequence && report.lines == 0
            throw fault(
                error.kind, error.message + (isStart ? "; if older files are archived, give the head before it" : ""))
        }
        let name = file.split(separator: "/").last.map(String.init) ?? ""
        if line == 1, let first = AuditFileName.first(in: name), first != next.sequence {
            throw fault(.sequence, "has the number \(next.sequence), and its file's name says \(first)")
        }
        count(next)
        if let head = chain.head {
            guard missing.allSatisfy({ $0.sequence != head.sequence || $0 == head }) else {
                throw fault(.head, "is another line than the one that is expected: the log was written anew")
            }
            missing.removeAll { $0 == head }
        }
        return next
    }

    private mutating func count(_ next: AuditLine) {
        report.lines += 1
        if report.lines == 1 {
            report.first = next.sequence
            report.firstTime = next.time
        }
        report.lastTime = next.time
        switch next.content {
        case .file(let start):
            report.installation = start.installation
            if !report.keys.contains(start.key) { report.keys.append(start.key) }
        case .operation(let record):
            report.operations += 1
            if record.decision == .denied { report.denied += 1 }
        case .recovery: report.recoveries += 1
        case .checkpoint: report.checkpoints += 1
        }
    }

    func finish() throws(AuditFault) -> AuditReport {
        guard let head = chain.head, report.lines > 0 else {
            throw AuditFault(kind: .missing, file: file, line: 0, message: "there is no audit log")
        }
        guard chain.signed == head else {
            throw fault(
                .unsigned,
                "the log does not end in a checkpoint: its end is cut off, or a crash left it so, or it is being "
                    + "written right now")
        }
        if let missing = missing.first {
            throw fault(
                .head, "the log ends at line \(head.sequence) and does not hold \(missing): its end is cut off")
        }
        var report = report
        report.head = head
        return report
    }

    private func fault(_ kind: AuditFault.Kind, _ message: String) -> AuditFault {
        AuditFault(kind: kind, file: file, line: line, message: message)
    }
}
