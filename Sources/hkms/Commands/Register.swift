import ArgumentParser
import Foundation
import HKMSClient
import ServiceKit

/// `hkms register`
struct Register: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a key set.",
        discussion: """
            The gateway draws a seed, has your KMS seal it (direct), or seals it under a data key of your KMS \
            (envelope), and derives secret, public and evaluation keys from it. A model decides parameters and \
            evaluation keys; with a preset or parameters you name the rotations.

            Results of a model are released with noise that hides what decryptions otherwise tell of the secret \
            key. The parameters are chosen so that results stay within the precision you ask for, over all the \
            decryptions you ask for; what was chosen and why is told. Raw results have no such noise: they are for \
            the owner alone, and the key set is marked as tainted for ever. A preset has no model and so only raw. \
            Under BFV, results are exact integers and have no noise to hide.

              hkms register --model heart-disease
              hkms register --model heart-disease --precision 1e-4 --decryptions 100 --audience shared
              hkms register --model heart-disease --release raw
              hkms register --preset ckks-14 --rotations 1,2,-4 --mode envelope --release raw
              hkms register --preset bfv-13 --rotations 1 --row-swap

            If it is interrupted, repeat it with the request id that it told: you get the same key set.
            """)

    /// How the seed is sealed.
    enum Mode: String, ExpressibleByArgument, CaseIterable {
        case direct, envelope
    }

    @Option(help: ArgumentHelp("Make the keys that this model or circuit needs.", valueName: "name"))
    var model: String?
    @Option(help: ArgumentHelp("Named parameters, see docs/api.md.", valueName: "name"))
    var preset: String?
    @Option(
        help: ArgumentHelp(
            "Parameters of your own: a JSON file with scheme, logN, q, p, alpha, and t for BFV.", valueName: "file"))
    var parameters: String?
    @Option(help: "How the seed is sealed.")
    var mode = Mode.direct
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Rotations by slots, positive to the left: 1,2,-4", valueName: "list"))
    var rotations: Rotations?
    @Flag(help: "CKKS: make the key of complex conjugation.")
    var conjugation = false
    @Flag(help: "BFV: make the key that swaps the two rows.")
    var rowSwap = false
    @Option(help: ArgumentHelp("One of your groups, to own the key set instead of you.", valueName: "name"))
    var group: String?
    @Option(help: ArgumentHelp("Id of this request; a fresh UUID by default.", valueName: "id"))
    var requestId: String?
    /// How results leave.
    enum Release: String, ExpressibleByArgument, CaseIterable {
        case flooded, raw, exact
    }

    /// Who may see results.
    enum Audience: String, ExpressibleByArgument, CaseIterable {
        case owner, shared
    }

    @Option(help: "How results are released: of a model flooded by default, exact under BFV.")
    var release: Release?
    @Option(
        help: ArgumentHelp(
            "Flooded: what a result may be off by; the gateway decides by default (1e-3).", valueName: "number"))
    var precision: Double?
    @Option(
        help: ArgumentHelp(
            "Flooded: bits of statistical security; the gateway decides by default (30). Take 64 for what is published.",
            valueName: "bits"))
    var statisticalBits: Int?
    @Option(
        name: [.customLong("decryptions"), .customLong("decryption-budget")],
        help: ArgumentHelp(
            "Decryptions in the key set's life. Flooded: the gateway decides by default (1024). Raw: no limit.",
            valueName: "n"))
    var decryptions: Int?
    @Option(help: "Flooded: who may see results.")
    var audience: Audience?
    @Flag(
        help: "Allow decryption of any ciphertext, which gives the secret key away; needs a grant.")
    var decryptAny = false
    @OptionGroup var options: GatewayOptions

    func validate() throws {
        guard [model, preset, parameters].count(where: { $0 != nil }) == 1 else {
            throw ValidationError("Give exactly one of --model, --preset and --parameters.")
        }
        guard model == nil || (rotations == nil && !conjugation && !rowSwap) else {
            throw ValidationError(
                "The model decides rotations; leave out --rotations, --conjugation and --row-swap.")
        }
        if let decryptions, decryptions < 1 { throw ValidationError("--decryptions is 1 or more.") }
        if let precision, !(precision > 0) { throw ValidationError("--precision is above 0.") }
        let isFlooded = release == nil || release == .flooded
        guard isFlooded || (precision == nil && statisticalBits == nil) else {
            throw ValidationError("Raw and exact results have no --precision and no --statistical-bits.")
        }
        guard isFlooded || audience != .shared else {
            throw ValidationError(
                "--audience shared goes with flooded results: leave out --release. Whoever sees raw results may find the "
                    + "secret key.")
        }
        // The gateway knows the scheme of parameters.
        guard !isFlooded || model != nil || parameters != nil || preset?.hasPrefix("bfv-") == true else {
            throw ValidationError(
                "Only a model's results can be flooded: give --model, or --release raw, which is for ever.")
        }
    }

    func run() async throws {
        let request = try request()
        try await options.withClient { client in
            Terminal.tell("hkms: request id \(Terminal.printable(request.requestId))\n")
            let response = try await withSpinner("making the keys") { try await client.register(request) }
            if options.json { return try JSONOutput(response).write() }
            try Terminal.write(KeySetReport.text(response.body, timings: response.timings))
            if response.status == 200 {
                Terminal.tell("hkms: an earlier request of this id made the key set\n")
            }
        }
    }

    private func request() throws -> RegisterRequest {
        var request = RegisterRequest(
            requestId: requestId ?? UUID().uuidString.lowercased(), mode: mode.rawValue, model: model, preset: preset)
        if let parameters { request.parameters = try Self.readParameters(parameters) }
        request.rotations = rotations?.steps
        if conjugation { request.conjugation = true }
        if rowSwap { request.rowSwap = true }
        request.group = group
        request.decryptionBudget = decryptions
        request.release = release?.rawValue
        request.precision = precision
        request.statisticalBits = statisticalBits
        request.audience = audience?.rawValue
        if decryptAny { request.decryptAny = true }
        return request
    }

    private static func readParameters(_ path: String) throws -> ParametersBody {
        let bytes = try InputFile.read(path, maximumBytes: 64 << 10)
        guard let parameters = try? APIJSON.decode(ParametersBody.self, from: bytes) else {
            throw CommandFailure(
                title: "Parameters not usable", detail: "\(path) is no JSON object of parameters",
                fix: "Give scheme, logN, q, p and alpha, and t for BFV, as hkms keysets show --json has them under "
                    + "parameters.",
                code: CommandFailure.inputData)
        }
        return parameters
    }
}

/// Rotation steps, as `1,2,-4`.
struct Rotations: ExpressibleByArgument {
    let steps: [Int]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        let steps = parts.compactMap { Int($0) }
        guard steps.count == parts.count, !steps.contains(0) else { return nil }
        self.steps = steps
    }
}
