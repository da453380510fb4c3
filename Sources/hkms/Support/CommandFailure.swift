import ArgumentParser
import DataFiles
import Foundation
import HKMSClient
import ServiceKit

/// Why a command ends, as it tells it on standard error.
struct CommandFailure: ActionableError {
    var title: String
    var detail: String
    var fix: String
    var code: ExitCode = .failure

    /// Codes of sysexits.h.
    static let inputData = ExitCode(65)
    static let unavailable = ExitCode(69)
    static let denied = ExitCode(77)
    static let configuration = ExitCode(78)

    /// Tells `error` and ends the process.
    static func exit(with error: any Error) -> Never {
        if let failure = CommandFailure(error) {
            Terminal.tell(failure.text)
            HKMSCommand.exit(withError: failure.code)
        }
        // Help, version, wrong usage, and exit codes of commands.
        HKMSCommand.exit(withError: error)
    }

    /// - Returns: nil for errors that ArgumentParser explains itself.
    private init?(_ error: any Error) {
        switch error {
        case let error as CommandFailure: self = error
        case let error as any ActionableError:
            self.init(title: error.title, detail: error.detail, fix: error.fix, code: Self.code(of: error))
        case let error as any ProblemConvertible:
            let problem = error.problem
            self.init(title: problem.title, detail: problem.detail, fix: problem.fix)
        case let error as ConfigurationError:
            self.init(
                title: "Configuration not usable", detail: error.description, fix: "Correct the named lines.",
                code: Self.configuration)
        default: return nil
        }
    }

    init(title: String, detail: String, fix: String, code: ExitCode = .failure) {
        self.title = title
        self.detail = detail
        self.fix = fix
        self.code = code
    }

    private var text: String {
        var text = "hkms: \(title)"
        if !detail.isEmpty { text += ": \(detail)" }
        if !fix.isEmpty { text += "\n  fix: \(fix)" }
        return Terminal.printable(text) + "\n"
    }

    private static func code(of error: any ActionableError) -> ExitCode {
        switch error {
        case is DataFileError: inputData
        case HKMSClientError.unreachable, HKMSClientError.timedOut: unavailable
        case HKMSClientError.problem(let problem): code(ofStatus: problem.status)
        case HKMSClientError.unexpectedResponse(let status, _): code(ofStatus: status)
        case HKMSClientError.invalidAddress, HKMSClientError.invalidArgument, HKMSClientError.plainHTTP,
            HKMSClientError.invalidToken, HKMSClientError.caCertificate,
            HKMSClientError.clientCertificate:
            .validationFailure
        default: .failure
        }
    }

    private static func code(ofStatus status: Int) -> ExitCode {
        switch status {
        case 400, 413, 422: inputData
        case 401, 403: denied
        default: .failure
        }
    }
}
