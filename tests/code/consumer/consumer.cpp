// Uses the headers as a robot's own program does: `consumer judge|refuse|look|drift ARTEFACT [FILE]`. Batches of two frames.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "two/fit.hpp"
#include "two/model.hpp"

static_assert(static_cast<int>(two::ColourClass::green) == 1, "classes are types");
static_assert(two::colour_classes[2] == "blue", "and have names");
static_assert(decltype(two::Outputs::where)::shape[1] == two::Input::height, "shapes are known when the program is compiled");

namespace {

/// FILE holds every output of every golden frame: what the self-test makes of it, a line an output.
int judge(const std::string& artefact, const std::string& file) {
  std::size_t values = 0;
  for (const two::OutputFacts& facts : two::output_facts) values += facts.values;
  const auto actual = two::read_values<float>(file, two::Golden::count * values);
  two::SelfTest test(artefact);
  const float* place = actual.data();
  for (std::size_t frame = 0; frame < two::Golden::count; ++frame) {
    for (std::size_t output = 0; output < two::output_facts.size(); ++output) {
      test.add(output, frame, place);
      place += two::output_facts[output].values;
    }
  }
  int code = 0;
  try {
    test.finish();
  } catch (const two::Error& error) {
    std::cerr << error.what() << '\n';
    code = static_cast<int>(error.code());
  }
  std::cout << std::setprecision(17);
  for (const two::OutputCheck& check : test.checks()) {
    std::cout << check.difference << ' ' << check.tolerance << ' ' << check.cosine << ' ' << check.least_cosine << ' '
              << check.passed() << '\n';
  }
  return code;
}

/// Frames that the model must not take: the exit code of each, and of one that it takes.
int refuse(const std::string& artefact) {
  two::Model model(artefact);
  constexpr std::size_t height = two::Input::height, width = two::Input::width;
  const std::vector<std::uint8_t> pixels(6 * height * width);
  const two::Frame good{pixels.data(), height, width};
  for (const two::Frame& frame : {two::Frame{pixels.data(), height + 1, width}, two::Frame{pixels.data(), height, width - 1},
                                  two::Frame{pixels.data(), height, width, 3 * width - 1}, good}) {
    try {
      model.run({good, frame});
      std::cout << "0\n";
    } catch (const two::Error& error) {
      std::cout << static_cast<int>(error.code()) << '\n';
    }
  }
  return 0;
}

/// FILE holds two frames: a few values of the outputs, by their indices.
int look(const std::string& artefact, const std::string& file) {
  two::Model model(artefact);
  const auto frames = two::read_values<std::uint8_t>(file, 2 * two::Input::frame_bytes);
  const two::Frame first{frames.data(), two::Input::height, two::Input::width};
  const two::Frame second{frames.data() + two::Input::frame_bytes, two::Input::height, two::Input::width};
  const two::Outputs outputs = model.run({first, second});
  std::cout << std::setprecision(9) << outputs.where(1, 3, 5) << ' ' << outputs.bright(0, 31, 47) << ' ' << outputs.colour(1, 2)
            << ' ' << outputs.grid(1, 1, 2, 0) << '\n';
  return 0;
}

/// The scores of the mean itself, of a token that is not finite, and of one far away; then the exit code with a world that moved.
int drift(const std::string& artefact) {
  namespace fs = std::filesystem;
  constexpr std::size_t width = two::DriftFacts::width, count = (2 + two::DriftFacts::directions) * width;
  const two::Drift drift(artefact);
  auto world = two::read_values<float>(fs::path(artefact) / std::string(two::DriftFacts::world), count);
  std::vector<float> token(world.begin(), world.begin() + width);
  std::cout << drift.score(token.data()) << '\n';
  token[1] = std::numeric_limits<float>::quiet_NaN();
  std::cout << drift.score(token.data()) << '\n';
  token[1] = 1e30F;
  std::cout << drift.score(token.data()) << '\n';

  const fs::path moved = fs::path(artefact).parent_path() / "moved";
  fs::copy(artefact, moved, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  for (float& value : world) value *= 1.001F;
  std::ofstream(moved / std::string(two::DriftFacts::world), std::ios::binary)
      .write(reinterpret_cast<const char*>(world.data()), static_cast<std::streamsize>(count * sizeof(float)));
  try {
    const two::Drift other(moved);
    std::cout << "0\n";
  } catch (const two::Error& error) {
    std::cout << static_cast<int>(error.code()) << '\n';
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    const std::vector<std::string> arguments(words + 1, words + count);
    if (arguments.at(0) == "judge") return judge(arguments.at(1), arguments.at(2));
    if (arguments.at(0) == "refuse") return refuse(arguments.at(1));
    if (arguments.at(0) == "drift") return drift(arguments.at(1));
    return look(arguments.at(1), arguments.at(2));
  } catch (const two::Error& error) {
    std::cerr << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
