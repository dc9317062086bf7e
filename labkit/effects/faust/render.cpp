// Architecture of a program that plays a file of raw float32, one channel after the other:
// PROGRAM RATE SAMPLES [VALUE of each slider, in order] < input > output
// Where values are given more than once, the sliders are turned after equal parts of the file.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <faust/dsp/dsp.h>
#include <faust/gui/DecoratorUI.h>
#include <faust/gui/UI.h>
#include <faust/gui/meta.h>

<<includeIntrinsic>>
<<includeclass>>

struct Sliders : GenericUI {
    std::vector<FAUSTFLOAT*> places;
    void addHorizontalSlider(const char*, FAUSTFLOAT* place, FAUSTFLOAT, FAUSTFLOAT, FAUSTFLOAT,
                             FAUSTFLOAT) override { places.push_back(place); }
};

int main(int count, char** given) {
    const int rate = std::atoi(given[1]), samples = std::atoi(given[2]), block = 512;
    mydsp* program = new mydsp();
    program->init(rate);
    Sliders sliders;
    program->buildUserInterface(&sliders);
    const int knobs = int(sliders.places.size());
    const int rows = 1 + (count - 4) / (knobs ? knobs : 1); // the last may be a part of a row
    auto turn = [&](int row) {
        for (int k = 0; k < knobs && 3 + row * knobs + k < count; k++)
            *sliders.places[k] = std::strtof(given[3 + row * knobs + k], nullptr);
    };
    turn(0);
    const int inputs = program->getNumInputs(), outputs = program->getNumOutputs();
    std::vector<float> dry(inputs * samples), wet(outputs * samples);
    if (std::fread(dry.data(), sizeof(float), dry.size(), stdin) != dry.size()) return 1;
    std::vector<float*> in(inputs), out(outputs);
    for (int start = 0; start < samples; start += block) {
        turn(int(long(start) * rows / samples));
        for (int k = 0; k < inputs; k++) in[k] = &dry[k * samples + start];
        for (int k = 0; k < outputs; k++) out[k] = &wet[k * samples + start];
        program->compute(samples - start < block ? samples - start : block, in.data(), out.data());
    }
    return std::fwrite(wet.data(), sizeof(float), wet.size(), stdout) != wet.size();
}
