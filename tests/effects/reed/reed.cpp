// One voice, sine or saw, that dies away after its key is let go: slowly, if so set, and into the next note.
// It hears its keys at the edges of blocks of 32 samples, wherever the host's own blocks begin.
#include <cmath>
#include <cstring>

#include "DistrhoPlugin.hpp"

START_NAMESPACE_DISTRHO

class Reed : public Plugin {
public:
    Reed() : Plugin(kCount, 0, 0) {}

protected:
    enum { kWave, kOctave, kLevel, kRelease, kRetrigger, kCount };

    const char* getLabel() const override { return "Reed"; }
    const char* getMaker() const override { return "labkit"; }
    const char* getLicense() const override { return "MIT"; }
    uint32_t getVersion() const override { return d_version(1, 0, 0); }
    int64_t getUniqueId() const override { return d_cconst('l', 'k', 'R', 'd'); }

    void initParameter(uint32_t index, Parameter& p) override {
        static const char* const names[] = {"Wave", "Octave", "Level", "Release", "Retrigger"};
        static const float lows[] = {0, -2, 0, 0.001f, 0}, highs[] = {2, 2, 1, 8, 1};
        p.hints = kParameterIsAutomatable;
        if (index == kWave || index == kOctave) p.hints |= kParameterIsInteger;
        if (index == kRetrigger) p.hints |= kParameterIsBoolean | kParameterIsInteger;
        p.name = names[index];
        p.symbol = names[index];
        p.ranges.def = values_[index];
        p.ranges.min = lows[index];
        p.ranges.max = highs[index];
        if (index == kWave) {
            p.enumValues.count = 3;
            p.enumValues.restrictedMode = true;
            p.enumValues.values = new ParameterEnumerationValue[3];
            static const char* const words[] = {"Off", "Sine", "Saw 12 dB"};
            for (int k = 0; k < 3; ++k) {
                p.enumValues.values[k].value = float(k);
                p.enumValues.values[k].label = words[k];
            }
        }
    }

    float getParameterValue(uint32_t index) const override { return values_[index]; }
    void setParameterValue(uint32_t index, float value) override { values_[index] = value; }

    void run(const float**, float** outputs, uint32_t frames, const MidiEvent* events, uint32_t count) override {
        uint32_t next = 0;
        for (uint32_t n = 0; n < frames; ++n) {
            if (clock_++ % 32 == 0)
                for (; next < count && events[next].frame <= n; ++next) hear(events[next].data);
            outputs[0][n] = outputs[1][n] = sample();
        }
        for (; next < count; ++next) hear(events[next].data);
    }

private:
    void hear(const uint8_t* data) {
        const uint8_t kind = data[0] & 0xF0;
        if (kind == 0x90 && data[2] > 0) {
            key_ = data[1];
            amplitude_ = data[2] / 127.0;
            held_ = true;
            if (values_[kRetrigger] > 0.5f) phase_ = 0;
        } else if ((kind == 0x80 || kind == 0x90) && data[1] == key_) {
            held_ = false;
        }
    }

    float sample() {
        const double rate = getSampleRate();
        if (!held_) amplitude_ *= std::exp(-1.0 / (values_[kRelease] * rate));
        phase_ += 440.0 * std::pow(2.0, (key_ - 69) / 12.0 + std::round(values_[kOctave])) / rate;
        phase_ -= std::floor(phase_);
        const int wave = int(std::round(values_[kWave]));
        const double shape = wave == 0 ? 0 : wave == 1 ? std::sin(2 * M_PI * phase_) : 2 * phase_ - 1;
        return float(values_[kLevel] * amplitude_ * shape);
    }

    float values_[kCount] = {1, 0, 0.5f, 0.01f, 0};
    double phase_ = 0, amplitude_ = 0;
    int key_ = 60;
    unsigned clock_ = 0;
    bool held_ = false;
};

Plugin* createPlugin() { return new Reed; }

END_NAMESPACE_DISTRHO
