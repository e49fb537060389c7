// TrainLog: the course of a training in its folder, for people and for spreadsheets.
//
//   log.csv     a row an iteration: iteration,loss,lr,images_per_second, and each loss top by name;
//               one whose name is a column's already, such as loss, as loss_top
//   val.csv     a row a validation: iteration, AUPR of each class, their mean (idrid33, fractions;
//               empty for a class without a positive pixel)
//   curves.svg  both as one picture
//
// Iterations count from 1: the row of 100 is what the 100th step gave, and a validation of 100
// comes after it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lseg {

class TrainLog {
 public:
  // Starts the files anew in `folder`, or, where `resumed_at` is above 0, keeps their rows up to
  // that iteration.
  TrainLog(const std::string& folder, const std::vector<std::string>& losses,
           const std::vector<std::string>& classes, int64_t resumed_at);

  void AddStep(int64_t iteration, double loss, float learning_rate, double images_per_second,
               const std::vector<float>& losses);
  void AddValidation(int64_t iteration, const std::vector<std::optional<double>>& aupr,
                     std::optional<double> mean);
  // Writes curves.svg. Throws Error where it cannot.
  void WriteCurves() const;

 private:
  std::string folder_;
  std::vector<std::string> classes_;
  std::string steps_path_, validations_path_;
  std::vector<double> step_iterations_, step_losses_;
  std::vector<double> validation_iterations_;
  std::vector<std::vector<double>> aupr_;  // one a class and the mean last; NaN: none
};

}  // namespace lseg
