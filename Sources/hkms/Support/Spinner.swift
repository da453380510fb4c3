/// Runs a step; where it takes over a second and somebody watches, shows for how long on standard error.
///
/// The line is cleared when the step ends.
func withSpinner<Result>(_ label: String, _ step: () async throws -> Result) async throws -> Result {
    guard Terminal.errorIsTerminal else { return try await step() }
    let spinner = Task {
        let start = ContinuousClock.now
        let frames = ["|", "/", "-", "\\"]
        var frame = 0
        guard (try? await Task.sleep(for: .seconds(1))) != nil else { return }
        defer { Terminal.tell("\r\u{1B}[K") }
        repeat {
            let seconds = (ContinuousClock.now - start).components.seconds
            Terminal.tell("\r\(frames[frame % frames.count]) \(label), \(seconds) s")
            frame += 1
        } while (try? await Task.sleep(for: .milliseconds(200))) != nil
    }
    do {
        let result = try await step()
        spinner.cancel()
        await spinner.value
        return result
    } catch {
        spinner.cancel()
        await spinner.value
        throw error
    }
}
