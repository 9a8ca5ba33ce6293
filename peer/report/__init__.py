"""One page about a run, or about several beside each other.

    reading          an edge: the files of a run directory, as much of them as is needed
    values           what a file may hold, read without trusting it
    thinning         long records, as many points as a picture shows
    run              one run as one frozen value, made of lines and objects
    links_seen       who heard whom in it;  happenings_told: what happened, in words
    figure           a figure: heading, sentence, picture, numbers;  themes: its colours
    curves, links, scores, hypers, happenings          the figures
    tables           configuration, results, differences, how to reproduce
    page             all of it in order, whatever it is shown as
    html, markdown   what it is shown as

Names in a run directory come from the network, and the directory may be anybody's: nothing of it is trusted.
"""
