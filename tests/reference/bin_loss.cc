#include "tests/reference/bin_loss.h"

#include <cmath>

namespace lseg::reference {
namespace {

double Probability(double z) { return 1 / (1 + std::exp(-z)); }

int Bin(double z) {
  const double p = Probability(z);
  return p >= 0.8 ? 4 : p >= 0.6 ? 3 : p >= 0.4 ? 2 : p >= 0.2 ? 1 : 0;
}

bool IsPositive(const BinLossParams& p, const std::vector<uint8_t>& label, int64_t n, int64_t c,
                int64_t pixel) {
  const int64_t pixels = p.logits.h * p.logits.w;
  if (p.label.c == 1) return label[n * pixels + pixel] == c + 1;
  return label[(n * p.logits.c + c) * pixels + pixel] == 1;
}

// One image: which negatives are taken, a bin and channel, and the two counts.
struct Image {
  std::vector<std::vector<bool>> taken, taken_published;  // [channel][bin]
  double count_pos = 0, count_neg = 0;
};

Image Study(const BinLossParams& p, const std::vector<double>& logits,
            const std::vector<uint8_t>& label, int64_t n) {
  const int64_t pixels = p.logits.h * p.logits.w;
  Image image;
  for (int64_t c = 0; c < p.logits.c; ++c) {
    int64_t positives = 0, negatives[5] = {};
    for (int64_t i = 0; i < pixels; ++i) {
      if (IsPositive(p, label, n, c, i)) {
        ++positives;
      } else {
        ++negatives[Bin(logits[(n * p.logits.c + c) * pixels + i])];
      }
    }
    const int64_t from4 = negatives[4], from3 = from4 + negatives[3], from2 = from3 + negatives[2],
                  from1 = from2 + negatives[1], from0 = from1 + negatives[0];
    const int64_t wanted = p.key * positives;
    // The branches as published, one condition each; the published gradient repeats the third.
    const auto branches = [&](int64_t fourth) -> std::pair<int, int64_t> {
      if (positives == 0) return {0, from0};
      if (from4 >= wanted) return {4, from4};
      if (from3 >= wanted) return {3, from3};
      if (from2 >= wanted) return {2, from2};
      if (fourth >= wanted) return {1, from1};
      return {0, from0};
    };
    const auto [first, count] = branches(from1);
    const int published_first = branches(from2).first;
    image.taken.emplace_back();
    image.taken_published.emplace_back();
    for (int bin = 0; bin < 5; ++bin) {
      image.taken.back().push_back(bin >= first);
      image.taken_published.back().push_back(bin >= published_first);
    }
    image.count_pos += static_cast<double>(positives);
    image.count_neg += std::floor(static_cast<double>(count) / static_cast<double>(p.num_label));
  }
  return image;
}

// Calls each(n, index of the logit, is positive, is taken, weight of positives, of negatives).
template <class Each>
void ForPixels(const BinLossParams& p, const std::vector<double>& logits,
               const std::vector<uint8_t>& label, bool published, const Each& each) {
  const int64_t pixels = p.logits.h * p.logits.w;
  for (int64_t n = 0; n < p.logits.n; ++n) {
    const Image image = Study(p, logits, label, n);
    const double total = image.count_pos + image.count_neg;
    if (total == 0) continue;
    const double factor = p.scale / (total * static_cast<double>(p.logits.n));
    for (int64_t c = 0; c < p.logits.c; ++c)
      for (int64_t i = 0; i < pixels; ++i) {
        const int64_t at = (n * p.logits.c + c) * pixels + i;
        const auto& taken = published ? image.taken_published[c] : image.taken[c];
        each(at, IsPositive(p, label, n, c, i), taken[Bin(logits[at])], image.count_neg * factor,
             image.count_pos * factor);
      }
  }
}

}  // namespace

double BinLoss(const BinLossParams& p, const std::vector<double>& logits,
               const std::vector<uint8_t>& label) {
  double loss = 0;
  ForPixels(p, logits, label, false,
            [&](int64_t at, bool positive, bool taken, double w_pos, double w_neg) {
              if (positive) {
                loss += w_pos * std::log1p(std::exp(-logits[at]));
              } else if (taken) {
                loss += w_neg * std::log1p(std::exp(logits[at]));
              }
            });
  return loss;
}

std::vector<double> BinLossGradient(const BinLossParams& p, const std::vector<double>& logits,
                                    const std::vector<uint8_t>& label, bool published) {
  std::vector<double> gradient(logits.size());
  ForPixels(p, logits, label, published,
            [&](int64_t at, bool positive, bool taken, double w_pos, double w_neg) {
              const double probability = Probability(logits[at]);
              gradient[at] = positive ? (probability - 1) * w_pos : taken ? probability * w_neg : 0;
            });
  return gradient;
}

std::vector<double> BinLossNumericGradient(const BinLossParams& p, std::vector<double> logits,
                                           const std::vector<uint8_t>& label) {
  constexpr double kStep = 1e-6;
  std::vector<double> gradient;
  for (double& z : logits) {
    const double at = z;
    z = at + kStep;
    const double above = BinLoss(p, logits, label);
    z = at - kStep;
    const double below = BinLoss(p, logits, label);
    z = at;
    gradient.push_back((above - below) / (2 * kStep));
  }
  return gradient;
}

}  // namespace lseg::reference
