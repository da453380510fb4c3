import ArgumentParser
import HKMSClient
import ServiceKit

/// `hkms models`
struct Models: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the models of the evaluation units, or show the inputs of one.",
        discussion: """
            The inputs of a model are the columns that a file of records needs.

              hkms models
              hkms models heart-disease
            """)

    @Argument(help: "Name of a model.")
    var name: String?
    @OptionGroup var options: GatewayOptions

    func run() async throws {
        try await options.withClient { client in
            let response = try await withSpinner("asking") { try await client.models() }
            if let name {
                let model = try await client.model(name)
                if options.json { return try JSONOutput(response, body: model).write() }
                return try Terminal.write(report(model))
            }
            if options.json { return try JSONOutput(response).write() }
            var table = Table(["model", "version", "unit", "inputs", "batch", "depth", "parameters"])
            for model in response.body.models {
                table.add([
                    model.name, String(model.version), model.unit, String(model.inputs.count), String(model.batch),
                    String(model.depth), KeySetReport.parameters(model.parameters),
                ])
            }
            guard !table.isEmpty else { return Terminal.tell("hkms: no evaluation unit tells a model\n") }
            try Terminal.write(table.text)
        }
    }

    private func report(_ model: ModelInfo) -> String {
        var facts = Table()
        facts.add(["model", "\(model.name), version \(model.version)"])
        facts.add(["description", model.description])
        facts.add(["evaluation unit", model.unit])
        facts.add(["output", "\(model.output): \(model.labels.joined(separator: ", "))"])
        facts.add(["batch", "\(model.batch) records a ciphertext"])
        facts.add(["depth", String(model.depth)])
        facts.add(["parameters", KeySetReport.parameters(model.parameters)])
        facts.add(["evaluation keys", String(model.evaluationKeys.count)])
        facts.add(["SHA-256", model.digest])
        if let target = model.target { facts.add(["target column", target.column]) }
        var inputs = Table(["input", "values", "may be missing"])
        for input in model.inputs {
            let categories = input.categories.map { $0.map(Self.number).joined(separator: ", ") }
            let range = input.range.map { $0.map(Self.number).joined(separator: " to ") }
            inputs.add([input.name, categories ?? range ?? input.encoding, input.mayBeMissing ? "yes" : "no"])
        }
        return facts.text + "\n" + inputs.text
    }

    private static func number(_ value: Double) -> String {
        Int(exactly: value).map { String($0) } ?? String(value)
    }
}
